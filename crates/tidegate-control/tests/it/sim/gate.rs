//! A gate as the limiter builds it: a queue, a door, an algorithm that hears what the limiter can observe.

use std::collections::VecDeque;

use tidegate_control::limit::LimitAlgorithm;
use tidegate_control::queue::Door;
use tidegate_control::sample::{Outcome, Sample, View};
use tidegate_control::wait::{Calibration, DrainRate, Prediction, Turnover};

const TICK: u64 = 10_000_000;
const CAPACITY: usize = 1024;
const STRETCH: u64 = 1_000_000_000;
/// The wall clock when a run begins.
const UNIX: u64 = 1_700_000_000_000_000_000;

/// One waiting request.
#[derive(Clone, Copy)]
struct Waiting {
    id: usize,
    expires: u64,
    since: u64,
    said: Option<Prediction>,
}

/// What a newcomer meets.
pub(super) enum Answer {
    Waits,
    Refused,
}

pub(super) struct Gate {
    algorithm: Box<dyn LimitAlgorithm>,
    drain: DrainRate,
    calibration: Calibration,
    door: Door,
    queue: VecDeque<Waiting>,
    patience: u64,
    skew: i64,
    limit: u64,
    in_flight: u64,
    now: u64,
    area: u64,
    ticked: u64,
    line_stood: bool,
    refused: Option<u64>,
    turnover: Turnover,
}

impl Gate {
    pub(super) fn new(algorithm: Box<dyn LimitAlgorithm>, timeout: u64, skew: i64) -> Self {
        let limit = algorithm.limit();
        Self {
            algorithm,
            drain: DrainRate::default(),
            calibration: Calibration::new(),
            door: Door::new(),
            queue: VecDeque::new(),
            patience: timeout / 10 * 4,
            skew,
            limit,
            in_flight: 0,
            now: 0,
            area: 0,
            ticked: 0,
            line_stood: false,
            refused: None,
            turnover: Turnover::default(),
        }
    }

    /// Does its algorithm say that the others do not keep the beat?
    pub(super) fn is_alone(&self) -> bool {
        self.algorithm.explain().phase == "alone"
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The share of the last waits that ended by their predicted p90.
    pub(super) fn coverage(&self) -> f64 {
        self.calibration.coverage().share
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Little's law, until a drain rate was measured.
    fn assumed(&self) -> Option<f64> {
        self.turnover.rate(self.limit)
    }

    fn view(&self) -> View {
        let mut at = View::default();
        (at.now, at.area) = (self.now, self.area);
        at.unix = UNIX.saturating_add(self.now).saturating_add_signed(self.skew);
        (at.in_flight, at.waiting, at.limit) = (self.in_flight, self.queue.len() as u64, self.limit);
        at
    }

    pub(super) fn enter(&mut self, now: u64) {
        self.area = self.area.wrapping_add(self.in_flight * (now - self.now));
        self.now = now;
    }

    /// A request comes, to be answered by `expires`. Whoever may be dispatched is in `out` afterwards.
    pub(super) fn arrive(&mut self, id: usize, expires: u64, out: &mut Vec<usize>) -> Answer {
        let far = self.refused.is_none_or(|then| self.now - then >= STRETCH);
        if !self.line_stood && far {
            self.drain.unbound();
        }
        self.drain.recall(self.now);
        self.door.arrived(self.now, 1);
        if self.queue.is_empty() && self.in_flight < self.limit {
            self.admit(id, out);
            return Answer::Waits;
        }
        let raw = self.drain.predict(self.queue.len() as u64 + 1, self.assumed());
        let said = raw.map(|raw| self.calibration.apply(raw));
        let too_long = raw.is_some_and(|raw| raw.p50 > self.door.budget())
            || said.is_some_and(|said| said.p50 > self.patience);
        let answer = if self.queue.len() >= CAPACITY || too_long {
            Answer::Refused
        } else {
            let expires = expires.min(self.now.saturating_add(self.patience));
            self.queue.push_back(Waiting { id, expires, since: self.now, said });
            self.line_stood = true;
            self.drain.bound(self.now);
            Answer::Waits
        };
        let view = self.view();
        self.limit = self.algorithm.on_pressure(&view);
        if matches!(answer, Answer::Refused) {
            self.drain.bound(self.now);
            self.refused = Some(self.now);
        }
        answer
    }

    fn admit(&mut self, id: usize, out: &mut Vec<usize>) {
        self.in_flight += 1;
        self.drain.dispatched(self.now, 1);
        self.door.dispatched(self.now, 1);
        out.push(id);
    }

    pub(super) fn complete(
        &mut self,
        started: u64,
        queued: u64,
        (kind, in_time): (u8, bool),
        reported: Option<u64>,
    ) {
        let mut sample = Sample::new(self.view(), self.now - started, Outcome::Success);
        (sample.queued, sample.kind) = (queued, kind);
        (sample.in_time, sample.reported) = (in_time, reported);
        self.turnover.served(started, self.now);
        self.limit = self.algorithm.on_sample(&sample);
        self.in_flight -= 1;
    }

    /// The end of every event: time, and whoever fits.
    pub(super) fn leave(&mut self, out: &mut Vec<usize>) {
        if self.now - self.ticked >= TICK && (self.in_flight > 0 || !self.queue.is_empty()) {
            self.ticked = self.now;
            let view = self.view();
            self.limit = self.algorithm.on_tick(&view);
            self.queue.retain(|waiting| waiting.expires > self.now);
            self.door.tick(
                self.now,
                self.drain.rate().or(self.assumed()),
                self.limit,
                self.algorithm.is_searching(),
            );
        }
        while self.in_flight < self.limit {
            let Some(waiting) = self.queue.pop_front() else { break };
            if waiting.expires > self.now {
                if let Some(said) = waiting.said {
                    self.calibration.ended(said, self.now - waiting.since);
                }
                self.admit(waiting.id, out);
            }
        }
        if self.queue.is_empty() && std::mem::take(&mut self.line_stood) {
            self.drain.unbound();
        }
    }

    pub(super) fn describe(&self) -> String {
        let why = self.algorithm.explain();
        format!(
            "{} limit {} estimate {:.1} e {:?} budget {} ms drain {:?}",
            why.phase,
            why.limit,
            why.estimate,
            why.elasticity,
            self.door.budget() / 1_000_000,
            self.drain.rate()
        )
    }
}
