//! How long, and when to come back: what the limiter has learned about the pace of its own work.

use std::time::Duration;

use tidegate_control::queue::{Criticality, Door};
use tidegate_control::sample::{Outcome, Sample};
use tidegate_control::slots::ReturnSlots;
use tidegate_control::wait::{Calibration, Coverage, DrainRate, Prediction, Turnover};

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

/// The pace of the limiter's work.
#[derive(Debug)]
pub(super) struct Outlook {
    drain: DrainRate,
    service: ServiceTimes,
    turnover: Turnover,
    slots: ReturnSlots,
    calibration: Calibration,
    /// Tunes itself how long newcomers may wait; only where an algorithm tunes the limit. Whoever sets the one
    /// by hand has set the other too.
    door: Option<Door>,
    /// Units a second by the turnover, until a drain rate was measured.
    assumed: Option<f64>,
    seed: u64,
}

impl Outlook {
    pub(super) fn new(self_tuned: bool) -> Self {
        Self {
            drain: DrainRate::default(),
            service: ServiceTimes::new(),
            turnover: Turnover::default(),
            slots: ReturnSlots::default(),
            calibration: Calibration::new(),
            door: self_tuned.then(Door::new),
            assumed: None,
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

    /// Forgets a pace of long ago.
    pub(super) fn recall(&mut self, now: u64) {
        self.drain.recall(now);
    }

    /// A caller came, whatever becomes of it.
    pub(super) fn arrived(&mut self, now: u64, weight: u64) {
        if let Some(door) = &mut self.door {
            door.arrived(now, weight);
        }
    }

    /// Units were admitted.
    pub(super) fn dispatched(&mut self, now: u64, weight: u64) {
        self.drain.dispatched(now, weight);
        if let Some(door) = &mut self.door {
            door.dispatched(now, weight);
        }
    }

    /// Time went by; `searching` says that the limit is on its way to somewhere else.
    pub(super) fn tick(&mut self, now: u64, limit: u64, searching: bool) {
        let Some(door) = &mut self.door else { return };
        if self.drain.rate().is_none() {
            self.assumed = self.turnover.rate(limit);
        }
        door.tick(now, self.drain.rate().or(self.assumed), limit, searching);
    }

    /// Work came to its end. Unreported ends are left out: they show only how long the work took at least.
    pub(super) fn served(&mut self, sample: &Sample) {
        if matches!(sample.outcome, Outcome::Success) {
            self.service.add(sample.kind, sample.elapsed);
            self.turnover.served(sample.at.now.saturating_sub(sample.elapsed), sample.at.now);
        }
    }

    /// A wait ended after `waited` with an admission; `said` was predicted at its begin.
    pub(super) fn waited(&mut self, said: Option<Prediction>, waited: u64) {
        if let Some(said) = said {
            self.calibration.ended(said, waited);
        }
    }

    /// A wait ended after `waited` without one.
    pub(super) fn gave_up(&mut self, said: Option<Prediction>, waited: u64) {
        if let Some(said) = said {
            self.calibration.given_up(said, waited);
        }
    }

    /// May the caller wait, and how long will it be? `Err` says why not.
    pub(super) fn ask(&self, question: &Question) -> Result<WaitEstimate, (Reason, WaitEstimate)> {
        let units = question.ahead.saturating_add(question.weight);
        let estimate = self.predict(units);
        let wait = nanos(estimate.expected);
        if question.deadline != u64::MAX {
            let work = self.service.get(question.kind).p50.map_or(0, nanos);
            if question.now.saturating_add(wait).saturating_add(work) >= question.deadline {
                return Err((Reason::Deadline, estimate));
            }
        }
        // The door counts places: its budget is compared with the plain prediction that it was made with.
        let plain = self.drain.predict(units, self.assumed).map_or(0, |plain| plain.p50);
        let budget = self.door.as_ref().map_or(u64::MAX, Door::budget);
        if wait > question.max_wait || plain > budget {
            return Err((Reason::WaitTooLong, estimate));
        }
        Ok(estimate)
    }

    /// The wait until `units` are admitted; zero while the pace is unknown.
    pub(super) fn predict(&self, units: u64) -> WaitEstimate {
        let samples = self.drain.windows();
        self.drain.predict(units, self.assumed).map_or_else(WaitEstimate::default, |plain| {
            let prediction = self.calibration.apply(plain);
            WaitEstimate {
                expected: Duration::from_nanos(prediction.p50),
                upper: Duration::from_nanos(prediction.p90),
                samples,
            }
        })
    }

    /// Units that are expected to be admitted within `wait` from `now`; none while the pace is unknown. Until it was
    /// measured, what was seen of it will do.
    pub(super) fn admitted_within(&self, now: u64, wait: u64) -> u64 {
        let rate = self.drain.rate().or_else(|| self.drain.so_far(now));
        rate.map_or(0, |rate| (rate * wait as f64 / 1e9) as u64)
    }

    /// A moment to come back for one refused caller, and whether that is worth it. Before the drain rate is
    /// known, the turnover of `limit` units is taken for it.
    pub(super) fn slot(
        &mut self,
        now: u64,
        class: Criticality,
        wait: u64,
        limit: u64,
    ) -> Option<(Duration, bool)> {
        let rate = self.drain.rate().or_else(|| self.turnover.rate(limit))?;
        let load = self.door.as_ref().and_then(Door::load);
        let random = self.random();
        let slot = self.slots.give(now, class, rate, load, wait, random);
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
        self.calibration.coverage()
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
