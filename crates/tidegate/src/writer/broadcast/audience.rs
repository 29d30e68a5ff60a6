//! [`Audience`]: where one subscribes, and can ask who is how far behind.

use std::sync::Arc;

use super::broadcast::Common;
use super::ledger::Snapshot;
use super::policy::Terms;
use super::subscriber::Subscriber;
use crate::refused::{Reason, Refused};
use crate::sync::lock;

/// Where one subscribes to a [`Broadcast`](super::Broadcast).
#[derive(Debug)]
pub struct Audience<T> {
    common: Arc<Common<T>>,
}

impl<T> Clone for Audience<T> {
    fn clone(&self) -> Self {
        Self { common: Arc::clone(&self.common) }
    }
}

impl<T> Audience<T> {
    pub(super) const fn new(common: Arc<Common<T>>) -> Self {
        Self { common }
    }

    /// Subscribes to what is published from now on.
    ///
    /// # Errors
    /// [`Connections`](Reason::Connections) **when full**, that is when there are [as many as there may
    /// be](super::Builder::max_subscribers); [`Draining`](Reason::Draining) when the broadcast has ended.
    pub fn subscribe(&self, mut terms: Terms) -> Result<Subscriber<T>, Refused> {
        terms.max_bytes = terms.max_bytes.max(self.common.max_item);
        let refuse = |reason| Refused::new(reason, Arc::clone(&self.common.name));
        let mut state = lock(&self.common.state);
        if state.ring.has_ended() {
            return Err(refuse(Reason::Draining));
        }
        if state.ring.seats() >= self.common.max_subscribers {
            return Err(refuse(Reason::Connections));
        }
        let seat = state.ring.sit(terms);
        drop(state);
        Ok(Subscriber::new(Arc::clone(&self.common), seat))
    }

    /// Who is how far behind, and what became of everything. Looks at every subscriber.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.common.state).ring.snapshot()
    }
}
