//! [`Shared`]: an item that several subscribers have.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::budget::Lease;

/// An item, shared by all who took it. There is one payload, and one charge for it, until the last of them is dropped.
pub struct Shared<T>(Arc<Payload<T>>);

struct Payload<T> {
    item: T,
    /// Given back with it.
    _charge: Option<Lease>,
}

impl<T> Shared<T> {
    pub(super) fn new(item: T, charge: Option<Lease>) -> Self {
        Self(Arc::new(Payload { item, _charge: charge }))
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
        &self.0.item
    }
}

/// Its bytes, without a copy: a [`Writer`](crate::writer::Writer) that has them keeps the item until they are out.
impl<T: AsRef<[u8]> + Send + Sync + 'static> From<Shared<T>> for Bytes {
    fn from(shared: Shared<T>) -> Self {
        struct Owner<T>(Shared<T>);
        impl<T: AsRef<[u8]>> AsRef<[u8]> for Owner<T> {
            fn as_ref(&self) -> &[u8] {
                T::as_ref(&self.0)
            }
        }
        Self::from_owner(Owner(shared))
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.item.fmt(f)
    }
}
