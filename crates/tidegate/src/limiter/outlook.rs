//! How long, and when to come back: what the limiter has learned about the pace of its own work.

use std::time::Duration;

use tidegate_control::queue::Criticality;
use tidegate_control::sample::{Outcome, Sample};
use tidegate_control::slots::ReturnSlots;
use tidegate_control::wait::DrainRate;

use crate::clock::{nanos, unix_now};
use crate::readiness::WaitEstimate;
use crate::refused::Reason;

use super::service::{ServiceTime, ServiceTimes};

/// A caller at the door. Times are nanoseconds of the limiter's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) now: u64,
    pub(super) class: Criticality,
    pub(super) kind: u8,
    pub(super) weight: u64,
    /// Units that would be admitted first.
    pub(super) ahead: u64,
    pub(super) deadline: u64,
    /// The longest it may wait.
    pub(super) max_wait: u64,
}

/// How well predicted waits held: of `predicted` waits that ended, `within` ended by their predicted p90.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Coverage {
    /// Waits that were predicted and have ended.
    pub predicted: u64,
    /// Those that ended by the p90 predicted at their begin.
    pub within: u64,
    /// `within / predicted`; 0.9 is right. 0 while there are none.
    pub share: f64,
}

/// The pace of the limiter's work.
#[derive(Debug)]
pub(super) struct Outlook {
    drain: DrainRate,
    service: ServiceTimes,
    slots: ReturnSlots,
    predicted: u64,
    within: u64,
    seed: u64,
}

impl Outlook {
    pub(super) fn new() -> Self {
        Self {
            drain: DrainRate::default(),
            service: ServiceTimes::new(),
            slots: ReturnSlots::default(),
            predicted: 0,
            within: 0,
            seed: unix_now(),
        }
    }

    /// The limit holds somebody back: dispatches from now on show the drain rate.
    pub(super) fn bound(&mut self, now: u64) {
        self.drain.bound(now);
    }

    /// The limit holds nobody back any more.
    pub(super) fn unbound(&mut self) {
        self.drain.unbound();
    }

    /// Units were admitted.
    pub(super) fn dispatched(&mut self, now: u64, weight: u64) {
        self.drain.dispatched(now, weight);
    }

    /// Work came to its end. Unreported ends are left out: they show only how long the work took at least.
    pub(super) fn served(&mut self, sample: &Sample) {
        if matches!(sample.outcome, Outcome::Success) {
            self.service.add(sample.kind, sample.elapsed);
        }
    }

    /// A wait came to its end after `waited`; `predicted` is the p90 said at its begin.
    pub(super) fn waited(&mut self, predicted: Option<u64>, waited: u64) {
        if let Some(predicted) = predicted {
            self.predicted += 1;
            self.within += u64::from(waited <= predicted);
        }
    }

    /// May the caller wait, and how long will it be? `Err` says why not.
    pub(super) fn ask(&self, question: &Question) -> Result<WaitEstimate, (Reason, WaitEstimate)> {
        let estimate = self.predict(question.ahead.saturating_add(question.weight));
        let wait = nanos(estimate.expected);
        let work = self.service.get(question.kind).p50.map_or(0, nanos);
        if question.now.saturating_add(wait).saturating_add(work) >= question.deadline {
            return Err((Reason::Deadline, estimate));
        }
        if wait > question.max_wait { Err((Reason::WaitTooLong, estimate)) } else { Ok(estimate) }
    }

    /// The wait until `units` are admitted; zero while the pace is unknown.
    pub(super) fn predict(&self, units: u64) -> WaitEstimate {
        let samples = self.drain.windows();
        self.drain.predict(units, None).map_or_else(WaitEstimate::default, |prediction| WaitEstimate {
            expected: Duration::from_nanos(prediction.p50),
            upper: Duration::from_nanos(prediction.p90),
            samples,
        })
    }

    /// A moment to come back for one refused caller, and whether that is worth it. Before the drain rate is
    /// known, `limit` units that each take the usual time are taken for it (Little's law).
    pub(super) fn slot(
        &mut self,
        now: u64,
        class: Criticality,
        wait: u64,
        limit: u64,
    ) -> Option<(Duration, bool)> {
        let rate = match self.drain.rate() {
            Some(rate) => rate,
            None => limit as f64 * 1e9 / self.service.usual()?.max(1) as f64,
        };
        let random = self.random();
        let slot = self.slots.give(now, class, rate, wait, random);
        Some((Duration::from_nanos(slot.after), slot.worth_it))
    }

    /// Units a second while the limit binds.
    pub(super) fn drain_rate(&self) -> Option<f64> {
        self.drain.rate()
    }

    /// The service time of a kind.
    pub(super) fn service_time(&self, kind: u8) -> ServiceTime {
        self.service.get(kind)
    }

    /// How well predicted waits held.
    pub(super) fn coverage(&self) -> Coverage {
        let share = if self.predicted == 0 { 0.0 } else { self.within as f64 / self.predicted as f64 };
        Coverage { predicted: self.predicted, within: self.within, share }
    }

    /// SplitMix64 (Steele, Lea and Flood 2014): enough to spread return slots, not for secrets.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
