//! One owner in front of one origin: phases, one after the other, each with its own limit.

use crate::limit::Bounds;
use crate::sample::{Sample, View};

use super::event::{Completion, completion};
use super::floor::Floor;
use super::point::{Elasticity, Point, Tally};
use super::service::Service;
use super::start::{Held, Start};
use super::verdict::CALM;

/// The low phase of a pair lies this far above the estimate: at or above the knee, so that probing costs no
/// throughput.
pub(super) const HEADROOM: f64 = 1.15;
/// Half of a probe's width, as a share, at least: under 12 % whole limits near 10 cannot be told apart …
const NARROWEST: f64 = 0.12;
/// … and at most in the steady state: wider costs more latency than knowing costs.
const WIDEST: f64 = 0.5;
/// The widest half-width there is: a doubling for each round trip, as slow start has it.
pub(super) const DOUBLING: f64 = 1.0;
/// Standard errors of ln R that are good enough for a decision while searching, and while steady.
const SEARCH_ERROR: f64 = 0.25;
const STEADY_ERROR: f64 = 0.45;
/// Completions a phase needs at least (searching, steady), and at most.
const FEWEST: (f64, f64) = (16.0, 40.0);
const MOST: f64 = 900.0;
/// A phase settles for the backend's memory, but no longer than this (seconds) or the time the work takes now:
/// beyond, being late costs more than a bias that the next phase corrects.
const SETTLE: f64 = 0.3;
/// Whatever is still in flight after this (seconds) does not leave: measure with what is there.
const UNSETTLED: f64 = 8.0;
/// A phase that lasts longer than this (seconds; the second where completions are rare) ends with what it has.
const OVERTIME: (f64, f64) = (2.0, 8.0);
/// Of a prompt origin so many seconds are measured at least: they cost nothing there, and whatever else the machine
/// does meanwhile falls on one phase less alone.
const UNHURRIED: f64 = 0.05;
/// Completions from before the slow start that are worth comparing with: of fewer, one lucky one is all.
const ENOUGH: f64 = 8.0;
/// … and those after which they are counted anew: an origin changes.
const OLD: f64 = 1000.0;
/// Completions under which a phase that took too long proves nothing but that the limit is too high.
pub(super) const HARDLY_ANY: f64 = 4.0;

/// What is being measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing: the limit holds nobody back.
    Idle,
    /// The neighbourhood of the knee, by doubling.
    Start,
    /// The point to compare with.
    Base,
    /// More, while more is done with more.
    Up,
    /// Less, while nothing is lost with less.
    Down,
    /// The upper one of the steady pair.
    High,
    /// The lower one of the steady pair.
    Low,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Start => "start",
            Self::Base => "base",
            Self::Up => "up",
            Self::Down => "down",
            Self::High => "high",
            Self::Low => "low",
        }
    }

    fn is_steady(self) -> bool {
        matches!(self, Self::High | Self::Low)
    }
}

/// The algorithm of a single owner. Times are nanoseconds, estimates are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Single {
    pub(super) bounds: Bounds,
    pub(super) estimate: f64,
    /// Half-width of the probe, as a share of the estimate.
    pub(super) width: f64,
    pub(super) phase: Phase,
    limit: u64,
    switched: u64,
    drained: Option<u64>,
    tally: Option<Tally>,
    heard: u64,
    /// The most that was held at once in this phase.
    pub(super) peak: u64,
    /// The slow start, while it lasts.
    pub(super) start: Option<Start>,
    /// Nothing is known of the knee yet.
    pub(super) cold: bool,
    /// What came back while nothing was known, since the last [`OLD`].
    pub(super) before: Option<Tally>,
    pub(super) service: Service,
    pub(super) floor: Floor,
    pub(super) base: Option<Point>,
    pub(super) previous: Option<Point>,
    /// The last high phase, to notice when the level shifts, and to learn how much phases scatter.
    pub(super) last_high: Option<Point>,
    pub(super) level: Option<Point>,
    /// Variance of ln R between equal phases, as measured.
    pub(super) scatter: f64,
    pub(super) throughput: Option<f64>,
    pub(super) elasticity: Option<f64>,
    pub(super) score: f64,
    pub(super) falling: f64,
    pub(super) known_until: u64,
    pub(super) snooze_until: u64,
    pub(super) snooze: u64,
    /// More is done with more than the ceiling allows, as last measured: believed until then.
    pub(super) held_down_until: u64,
    /// The search began without anybody being held back.
    pub(super) guarding: bool,
    /// When the way down began, latency was above its floor.
    pub(super) crowded: bool,
    /// Less than the base of this search has been tried, and was worse.
    pub(super) verified: bool,
}

impl Single {
    pub(super) fn new(bounds: Bounds) -> Self {
        let mut single = Self {
            bounds,
            estimate: bounds.clamp(bounds.start as f64),
            width: DOUBLING,
            phase: Phase::Idle,
            limit: 1,
            switched: 0,
            drained: None,
            tally: None,
            heard: 0,
            peak: 0,
            start: None,
            cold: true,
            before: None,
            service: Service::default(),
            floor: Floor::default(),
            base: None,
            previous: None,
            last_high: None,
            level: None,
            scatter: 0.0,
            throughput: None,
            elasticity: None,
            score: 0.0,
            falling: 0.0,
            known_until: 0,
            snooze_until: 0,
            snooze: 0,
            held_down_until: 0,
            guarding: false,
            crowded: false,
            verified: false,
        };
        single.limit = bounds.clamp(single.estimate.round()) as u64;
        single
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Would it be higher, but for its bounds?
    pub(super) fn at_ceiling(&self) -> bool {
        match self.phase {
            Phase::High | Phase::Low => (self.estimate * HEADROOM).round() >= self.bounds.max as f64,
            _ => self.limit >= self.bounds.max,
        }
    }

    pub(super) fn is_searching(&self) -> bool {
        matches!(self.phase, Phase::Start | Phase::Base | Phase::Up)
    }

    pub(super) fn on_sample(&mut self, sample: &Sample) -> u64 {
        let at = &sample.at;
        self.hear(at);
        match completion(sample, &self.service) {
            Completion::Ignored => {
                if let Some(tally) = &mut self.tally {
                    tally.ignore();
                }
            }
            Completion::Counts { seconds, useful } => {
                self.service.add(sample.kind, seconds);
                if let Some(tally) = &mut self.tally {
                    tally.add(sample.kind, sample.weight, seconds, useful);
                }
                self.grow(at, sample.weight, seconds, sample.kind, useful);
                if self.cold {
                    self.remember(at, sample, seconds, useful);
                }
                let idle = self.phase == Phase::Idle;
                if let Some(window) = self.floor.add(at, sample.kind, sample.weight, seconds, useful, idle) {
                    self.look_at(at, window);
                }
            }
        }
        self.step(at, sample.weight);
        self.limit
    }

    pub(super) fn on_pressure(&mut self, at: &View) -> u64 {
        self.hear(at);
        if self.phase == Phase::Idle {
            self.begin_search(at);
        }
        self.limit
    }

    pub(super) fn on_tick(&mut self, at: &View) -> u64 {
        self.hear(at);
        self.step(at, 0);
        self.limit
    }

    /// Time went by until this moment; what held at its end held all along, because every caller that begins to
    /// wait is an event of its own.
    fn hear(&mut self, at: &View) {
        let nanos = at.now.saturating_sub(self.heard);
        self.heard = self.heard.max(at.now);
        self.peak = self.peak.max(at.in_flight);
        if at.waiting > 0 || at.in_flight >= self.limit {
            let tally = self.start.as_mut().map(Start::tally).or(self.tally.as_mut());
            if let Some(tally) = tally {
                tally.bound(nanos);
            }
        }
    }

    /// Begins a phase.
    pub(super) fn enter(&mut self, at: &View, phase: Phase) {
        if phase == Phase::Down && self.phase != Phase::Down {
            self.crowded = self.floor.unnoticed() > CALM;
        }
        self.phase = phase;
        self.peak = at.in_flight;
        self.switched = at.now;
        self.drained = None;
        self.tally = None;
        self.estimate = self.bounds.clamp(self.estimate);
        let middle = self.estimate.round();
        let low = (self.estimate * HEADROOM).round();
        let step = 1.0 + self.width;
        let lower = self.bounds.lower_of_pair(low, step * step);
        let wanted = match phase {
            Phase::Idle | Phase::Start | Phase::Base => low,
            Phase::Low => lower,
            Phase::High => (lower * step * step).round().max(lower + 1.0),
            Phase::Up => (self.estimate * step).round().max(middle + 1.0),
            Phase::Down => (self.estimate / step).round().min(middle - 1.0),
        };
        self.limit = self.bounds.clamp(wanted) as u64;
        self.start = (phase == Phase::Start).then(|| {
            let before = self.before.as_ref().and_then(|tally| tally.point(at));
            let before = before.filter(|point| point.count >= ENOUGH).as_ref().map(Held::of);
            Start::begin(at, self.limit, before.unwrap_or_default())
        });
    }

    /// What comes back while the limit holds nobody back says how long a request takes below the knee.
    fn remember(&mut self, at: &View, sample: &Sample, seconds: f64, useful: bool) {
        let before = self.before.get_or_insert_with(Tally::default);
        if before.count() >= OLD {
            *before = Tally::begin(at);
        }
        before.add(sample.kind, sample.weight, seconds, useful);
    }

    /// Something came back: during the slow start one more may take its place.
    fn grow(&mut self, at: &View, weight: u64, seconds: f64, kind: u8, useful: bool) {
        let Some(start) = &mut self.start else { return };
        start.tally().add(kind, weight, seconds, useful);
        if useful && (at.waiting > 0 || at.in_flight >= self.limit) {
            start.grow(at, weight.max(1));
            self.limit = self.bounds.clamp(start.limit as f64) as u64;
        }
    }

    /// Ends a phase that is over.
    fn step(&mut self, at: &View, leaving: u64) {
        if self.phase == Phase::Idle {
            return;
        }
        if let Some(start) = &mut self.start {
            let round = start.look(at, OVERTIME.0 + 3.0 * self.service.mean());
            return self.after_round(at, round);
        }
        let Some(tally) = &self.tally else {
            // What is above the new limit must leave first, and then what was admitted beside it: it was slowed
            // down by the old limit.
            if at.in_flight.saturating_sub(leaving) <= self.limit {
                self.drained.get_or_insert(at.now);
            }
            let since = |then: u64| at.now.saturating_sub(then) as f64 / 1e9;
            let settled = self.drained.is_some_and(|then| {
                since(then) >= self.service.memory().min(self.service.mean().max(SETTLE))
            }) && !self.service.is_early();
            if settled || since(self.switched) > UNSETTLED + 3.0 * self.service.mean() {
                self.tally = Some(Tally::begin(at));
            }
            return;
        };
        let elapsed = tally.elapsed(at);
        let memory = self.service.memory();
        let long_enough = match self.phase {
            Phase::High | Phase::Low => (4.0 * memory).clamp(0.15, 2.0),
            _ if self.service.is_prompt() => memory.max(UNHURRIED),
            _ => memory,
        };
        let rare = tally.count() < FEWEST.1;
        let overtime = if rare { OVERTIME.1 } else { OVERTIME.0 } + 3.0 * self.service.mean();
        // What costs least is looked at first: a phase takes hundreds of completions.
        if !(elapsed >= long_enough && tally.count() >= self.need()) && elapsed <= overtime {
            return;
        }
        let ignored = tally.ignored();
        if let Some(point) = tally.point(at) {
            self.conclude(at, point, ignored);
        }
    }

    /// Completions that tell the present pair of limits apart: the variance of a difference of two mean ln R is
    /// 2v/N, and it shall be small against the distance of the limits.
    fn need(&self) -> f64 {
        let step = (1.0 + self.width).ln();
        let (distance, error, fewest) = if self.phase.is_steady() {
            (2.0 * step, STEADY_ERROR, FEWEST.1)
        } else {
            (step.max(0.3), SEARCH_ERROR, FEWEST.0)
        };
        let wanted = error * distance;
        (2.0 * self.service.spread() / (wanted * wanted)).max(fewest).min(MOST)
    }

    /// Standard error of ln R of a phase with `count` completions: what its spread lets expect, or what equal
    /// phases showed if that is more.
    fn error(&self, count: f64) -> f64 {
        (self.service.spread() / count.max(1.0)).max(self.scatter).sqrt()
    }

    /// Standard error of an elasticity, at least what is left of systematic error.
    pub(super) fn error_of(&self, elasticity: Elasticity, count: f64) -> f64 {
        std::f64::consts::SQRT_2 * self.error(count) / elasticity.width
    }

    /// How far a level may shift before it is news.
    pub(super) fn shift_error(&self, count: f64) -> f64 {
        4.0 * self.error(count)
    }

    /// The half-width that a steady pair needs so that its verdict is good enough within a second or so: slow
    /// services probe wider.
    pub(super) fn steady_width(&self) -> f64 {
        let count = (self.throughput.unwrap_or(0.0) * 0.8).clamp(10.0, 800.0);
        let variance = self.service.spread() / count;
        let variance = variance.max(self.scatter.min(4.0 * variance));
        let distance = (2.0 * variance).sqrt() / STEADY_ERROR;
        ((distance / 2.0).exp() - 1.0).clamp(NARROWEST, WIDEST)
    }
}
