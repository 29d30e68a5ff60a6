//! Held capacity.

use std::time::Duration;

use tidegate_control::sample::Outcome;

use super::limiter::Limiter;
use super::shared::Ending;

/// Capacity held by one piece of work; given back when it is finished or dropped.
///
/// Report how the work ended with [`finish`](Self::finish) or its short forms. A permit that is dropped
/// unreported counts as [`Outcome::Canceled`]: an adaptive limit learns only that the work took at least this
/// long. Whoever is next in the queue gets the capacity from this very call.
#[derive(Debug)]
#[must_use = "dropping a permit gives the capacity back at once"]
pub struct Permit {
    limiter: Limiter,
    ending: Ending,
}

impl Permit {
    #[inline]
    pub(super) fn new(limiter: Limiter, ending: Ending) -> Self {
        Self { limiter, ending }
    }

    /// Gives the capacity back and reports how the work ended.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        self.ending.outcome = outcome;
    }

    /// The work was done.
    #[inline]
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
        self.ending.outcome = outcome;
        self
    }

    /// The answer came too late to be of use: the worker's time was real, the use was none.
    pub fn late(&mut self) {
        self.ending.in_time = false;
    }

    /// The worker said that it has so many units in flight, of all its callers and this one. With it, several
    /// limiters before one worker ([`Knee::shared`](crate::limit::Knee::shared)) see what they do together. It is a
    /// hint that no limit rises by without bound; 0 says nothing, other algorithms do not listen.
    pub fn report_in_flight(&mut self, units: u64) {
        self.ending.reported = u32::try_from(units).unwrap_or(u32::MAX);
    }

    /// Units held.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.ending.weight
    }

    /// How long the caller waited before it was admitted; to within 10 ms where a line moves so fast that nobody is
    /// expected to wait two milliseconds.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.ending.queued)
    }

    /// How long the capacity has been held. Zero where it was not measured: a permit that a fixed limit gave at
    /// once, or that came from hand to hand in a fast line, without tracking holders, cost no look at the clock.
    #[must_use]
    pub fn held(&self) -> Duration {
        match self.ending.since {
            0 => Duration::ZERO,
            since => Duration::from_nanos(self.limiter.shared().clock.now().saturating_sub(since)),
        }
    }

    /// The limiter whose capacity this is.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.limiter.shared().release(&self.ending);
    }
}
