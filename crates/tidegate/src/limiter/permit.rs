//! Held capacity.

use std::time::Duration;

use tidegate_control::sample::Outcome;

use super::limiter::Limiter;

/// Capacity held by one piece of work; given back when it is finished or dropped.
///
/// Report how the work ended with [`finish`](Self::finish) or its short forms. A permit that is dropped
/// unreported counts as [`Outcome::Canceled`]: an adaptive limit learns only that the work took at least this
/// long.
#[derive(Debug)]
#[must_use = "dropping a permit gives the capacity back at once"]
pub struct Permit {
    pub(crate) limiter: Limiter,
    pub(crate) weight: u64,
    /// When it was admitted; 0 where nobody asks (fixed limit, holders not tracked).
    pub(crate) since: u64,
    pub(crate) queued: u64,
    pub(crate) kind: u8,
    pub(crate) on_drop: Outcome,
    pub(crate) in_time: bool,
    pub(crate) holder: Option<u64>,
}

impl Permit {
    /// Gives the capacity back and reports how the work ended.
    pub fn finish(mut self, outcome: Outcome) {
        self.on_drop = outcome;
    }

    /// The work was done.
    pub fn success(self) {
        self.finish(Outcome::Success);
    }

    /// The worker said, or showed, that it has too much to do.
    pub fn overload(self) {
        self.finish(Outcome::Overload);
    }

    /// The end says nothing about load.
    pub fn ignore(self) {
        self.finish(Outcome::Ignore);
    }

    /// What a drop reports from now on, in place of [`Outcome::Canceled`].
    pub fn on_drop(mut self, outcome: Outcome) -> Self {
        self.on_drop = outcome;
        self
    }

    /// The answer came too late to be of use: the worker's time was real, the success was none.
    pub fn late(&mut self) {
        self.in_time = false;
    }

    /// Units held.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// How long the caller waited before it was admitted.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.queued)
    }

    /// The limiter whose capacity this is.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.release(self);
    }
}
