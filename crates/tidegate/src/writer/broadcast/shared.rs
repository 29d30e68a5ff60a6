//! [`Shared`]: an item that several subscribers have.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// An item, shared by all who took it. There is one payload, and one charge for it, until the last of them is dropped.
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    pub(super) fn new(item: T) -> Self {
        Self(Arc::new(item))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
