//! What a thread sees of a piece of work, whatever its kind.

use std::fmt;
use std::sync::Arc;

use tidegate_control::sample::Outcome;

use crate::limiter::Permit;

/// A piece of work, from its permit to its result.
pub(super) trait Step: Send + Sync {
    /// Takes the permit that it was woken for, if there is one.
    fn claim(self: Arc<Self>) -> Option<Loaded>;

    /// Does the work. Returns the permit, to be given back with the outcome; `None` if that was done before.
    fn perform(&self) -> Option<(Permit, Outcome)>;

    /// Lets the caller have the result.
    fn publish(&self);

    /// It will not be done.
    fn stop(&self);
}

/// A piece with its permit, on the way to a thread. Dropped before it got there, it tells its caller so.
pub(super) struct Loaded(Option<Arc<dyn Step>>);

impl Loaded {
    pub(super) fn new(step: Arc<dyn Step>) -> Self {
        Self(Some(step))
    }

    /// It is on its thread.
    pub(super) fn arrive(mut self) -> Option<Arc<dyn Step>> {
        self.0.take()
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Some(step) = self.0.take() {
            step.stop();
        }
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loaded").field(&self.0.is_some()).finish()
    }
}
