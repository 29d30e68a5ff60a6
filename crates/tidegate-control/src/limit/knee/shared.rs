//! Several owners in front of one origin: phases come from the wall clock, so that all move together.
//!
//! An owner that probes alone sees the elasticity of its own share, which is near 1 even deep in saturation: the
//! more there are, the higher each one climbs. With one clock every owner sees the elasticity of the whole.

use crate::limit::Bounds;
use crate::sample::{Outcome, Sample, View};

use super::event::{Completion, completion};
use super::floor::Floor;
use super::point::{Point, Tally};
use super::service::{PROMPT, Service};
use super::single::HEADROOM;
use super::told::{History, Seen, Told};

const SECOND: u64 = 1_000_000_000;
/// Shortest and longest phase (nanoseconds): 2⁻³ s and 4 s. All are powers of two, so that owners which disagree
/// about the service time still switch together every second time.
const PERIODS: (u64, u64) = (SECOND / 8, 4 * SECOND);
/// Share of the phase that settling may take at most.
const SETTLE: f64 = 0.4;
/// Of a phase's time the limit must have been binding this share …
const BOUND: f64 = 0.6;
/// The price and the gain of the steady verdict (the gain is higher than a single owner's: verdicts are fewer).
const PRICE: f64 = 0.15;
const GAIN: f64 = 0.8;
/// Half-widths: the narrowest, where a search begins, and a doubling.
const NARROWEST: f64 = 0.12;
const START: f64 = 0.2;
const DOUBLING: f64 = 1.0;
/// Elasticity that means "more is done with more".
const GROWS: f64 = 0.65;
/// Standard error that a verdict may have, and completions of a phase at least.
const ERROR: f64 = 0.4;
const FEWEST: f64 = 20.0;
/// With this many completions in both phases there is a verdict whatever the spread.
const ENOUGH: f64 = 4000.0;
/// The estimate never exceeds this many times throughput × floor: an owner whose neighbours do not keep the beat
/// must not climb without end.
const CEILING: f64 = 3.0;
/// … but is not lowered faster than this a verdict: if it is the origin that has become slower, the next one tells.
const LOWERED: f64 = 0.7;
/// ln of the concurrency that the limit must have moved for its own history to tell anything …
const MOVED: f64 = 0.3;
/// … and the share of it by which latency may have followed if load is not what makes the origin slow. Sixteen
/// owners without a common clock climb 1.3 times as far as without this rule, and twice as far with .3.
const UNMOVED: f64 = 0.15;
/// Inflation (ln R/floor) over which latency says "saturated".
const INFLATED: f64 = 0.7;
/// Gain and longest step (in ln n) of a verdict over the last ten, where the others do not keep the beat.
const DRIFT: f64 = 0.5;
const STRIDE: f64 = 0.15;
/// After this long without pressure a new onset is searched with the widest step.
const FORGOTTEN: u64 = 20 * SECOND;

/// Sums of all phases of one parity since the last verdict.
#[derive(Clone, Debug, Default, PartialEq)]
struct Side {
    elapsed: f64,
    area: f64,
    bound: f64,
    tally: Tally,
    told: Told,
}

impl Side {
    fn point(&self) -> Option<Point> {
        if self.elapsed <= 0.0 {
            return None;
        }
        Some(self.tally.point_over(self.elapsed, self.area, self.bound / self.elapsed >= BOUND))
    }
}

/// The algorithm of one of several owners.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shared {
    pub(super) bounds: Bounds,
    pub(super) estimate: f64,
    width: f64,
    /// The number of the present phase since the Unix epoch: even is high, odd is low.
    beat: Option<u64>,
    measuring: bool,
    heard: u64,
    area: u64,
    low: Side,
    high: Side,
    pub(super) service: Service,
    floor: Floor,
    floor_mean: f64,
    run: i32,
    down: bool,
    pressed: Option<u64>,
    cut: u64,
    /// What the limit has moved away from since.
    reference: Option<Point>,
    history: History,
    /// The others do not move with this owner.
    alone: bool,
    pub(super) throughput: Option<f64>,
    pub(super) elasticity: Option<f64>,
}

impl Shared {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            estimate: bounds.clamp(bounds.start as f64),
            width: START,
            beat: None,
            measuring: false,
            heard: 0,
            area: 0,
            low: Side::default(),
            high: Side::default(),
            service: Service::default(),
            floor: Floor::default(),
            floor_mean: 0.0,
            run: 0,
            down: false,
            pressed: None,
            cut: 0,
            reference: None,
            history: History::default(),
            alone: false,
            throughput: None,
            elasticity: None,
        }
    }

    fn is_high(&self) -> bool {
        self.beat.is_some_and(|beat| beat % 2 == 0)
    }

    pub(super) fn phase(&self) -> &'static str {
        match (self.beat, self.down) {
            (None, _) => "idle",
            _ if self.alone => "alone",
            (_, true) => "down",
            _ if self.is_high() => "high",
            _ => "low",
        }
    }

    /// Would it be higher, but for its bounds?
    pub(super) fn at_ceiling(&self) -> bool {
        !self.down && (self.estimate * HEADROOM).round() >= self.bounds.max as f64
    }

    pub(super) fn is_searching(&self) -> bool {
        self.width >= 0.4 && !self.down
    }

    pub(super) fn limit(&self) -> u64 {
        if self.beat.is_none() {
            return self.bounds.clamp(self.estimate.round()) as u64;
        }
        let step = (1.0 + self.width) * (1.0 + self.width);
        let base = self.estimate * HEADROOM;
        let low = if self.down { base / step } else { base }.round().max(1.0);
        let low = self.bounds.lower_of_pair(low, step);
        let wanted = if self.is_high() { (low * step).round().max(low + 1.0) } else { low };
        self.bounds.clamp(wanted) as u64
    }

    pub(super) fn on_sample(&mut self, sample: &Sample) -> u64 {
        let at = &sample.at;
        self.hear(at);
        if let Completion::Counts { seconds, useful } = completion(sample, &self.service) {
            self.service.add(sample.kind, seconds);
            let window = self.floor.add(at, sample.kind, sample.weight, seconds, useful, false);
            if let Some(window) = window {
                self.learn_floor(window.mean());
            }
            if self.measuring {
                let side = if self.is_high() { &mut self.high } else { &mut self.low };
                side.tally.add(sample.kind, sample.weight, seconds, useful);
                if let Some(in_flight) = sample.reported {
                    side.told.add(in_flight);
                }
            }
        }
        if sample.outcome == Outcome::Overload {
            self.cut_back(at);
        }
        self.keep_beat(at);
        self.limit()
    }

    pub(super) fn on_pressure(&mut self, at: &View) -> u64 {
        self.hear(at);
        let fresh = self.pressed.is_none_or(|pressed| at.now.saturating_sub(pressed) > FORGOTTEN);
        if fresh && self.floor.inflation() < 0.3 {
            self.width = DOUBLING;
        }
        self.pressed = Some(at.now);
        self.limit()
    }

    pub(super) fn on_tick(&mut self, at: &View) -> u64 {
        self.hear(at);
        self.keep_beat(at);
        self.limit()
    }

    fn hear(&mut self, at: &View) {
        let seconds = at.now.saturating_sub(self.heard) as f64 / 1e9;
        let area = at.area.wrapping_sub(self.area) as f64 / 1e9;
        self.heard = self.heard.max(at.now);
        self.area = at.area;
        if !self.measuring {
            return;
        }
        let bound = at.waiting > 0 || at.in_flight >= self.limit();
        let side = if self.is_high() { &mut self.high } else { &mut self.low };
        side.elapsed += seconds;
        side.area += area;
        side.bound += if bound { seconds } else { 0.0 };
    }

    /// Three memories, rounded up to a power of two of an eighth of a second.
    fn period(&self) -> u64 {
        let wanted = (3.0 * self.service.memory() * SECOND as f64) as u64;
        let mut period = PERIODS.0;
        while period < wanted && period < PERIODS.1 {
            period *= 2;
        }
        period
    }

    fn keep_beat(&mut self, at: &View) {
        let period = self.period();
        let beat = at.unix / period;
        if self.beat != Some(beat) {
            self.beat = Some(beat);
            self.measuring = false;
            if beat % 2 == 0 {
                self.conclude();
            }
        }
        let inside = (at.unix % period) as f64 / SECOND as f64;
        if inside >= self.service.memory().min(SETTLE * period as f64 / SECOND as f64) {
            self.measuring = true;
        }
    }

    fn learn_floor(&mut self, mean: f64) {
        self.floor_mean = if self.floor_mean <= 0.0 {
            mean
        } else if mean < self.floor_mean {
            0.7 * self.floor_mean + 0.3 * mean
        } else {
            self.floor_mean * 1.001
        };
    }

    fn inflation(&self) -> f64 {
        if self.floor_mean > 0.0 && self.service.mean() > 0.0 {
            (self.service.mean().max(PROMPT) / self.floor_mean.max(PROMPT)).ln()
        } else {
            0.0
        }
    }

    /// The origin itself says that it is too much: whoever is nearest to the resource knows best. Once for all
    /// the work of one memory.
    fn cut_back(&mut self, at: &View) {
        let memory = (self.service.memory() * SECOND as f64) as u64;
        if at.now.saturating_sub(self.cut) >= memory {
            self.cut = at.now;
            self.estimate = self.bounds.clamp(self.estimate * 0.7);
            self.width = NARROWEST;
            self.start_over();
        }
    }

    fn start_over(&mut self) {
        self.low = Side::default();
        self.high = Side::default();
    }

    fn conclude(&mut self) {
        let (Some(low), Some(high)) = (self.low.point(), self.high.point()) else { return };
        if !low.bound || !high.bound {
            self.start_over();
            self.run = 0;
            self.down = false;
            // Whoever holds nobody back moves nothing that others could move against.
            self.alone = false;
            if low.bound {
                self.width = (0.8 * self.width).max(NARROWEST);
            }
            return;
        }
        let Some(found) = high.elasticity_over(&low) else { return self.start_over() };
        let need = self.need(found.width);
        if low.count.min(high.count) < need && low.count + high.count < ENOUGH {
            return;
        }
        let seen = self.history.learn((&low, self.low.told), (&high, self.high.told), found);
        self.alone = matches!(seen, Seen::Alone(_) | Seen::Nothing { contradicted: true });
        self.throughput = Some(low.throughput);
        let before = self.estimate;
        let e = match seen {
            Seen::Nothing { .. } => found.value,
            Seen::Together(width) => high.elasticity_within(&low, width),
            Seen::Alone(whole) => {
                self.drift(whole);
                self.cap(before, &high);
                return self.start_over();
            }
        };
        self.elasticity = Some(e);
        if self.down {
            let step = (1.0 + self.width) * (1.0 + self.width);
            self.estimate /= step;
            if e >= 0.3 {
                self.estimate *= (found.width * e).exp();
            }
            if e >= 0.3 || self.estimate <= 1.2 {
                self.down = false;
                self.run = 0;
                self.width = START;
            }
        } else {
            self.estimate *= (GAIN * found.width * (e - PRICE)).exp();
            self.turn(e);
        }
        self.relearn_floor(low);
        self.cap(before, &high);
        self.start_over();
    }

    /// Without the others: follows what the last verdicts said of the whole, and moves on where they do not differ.
    fn drift(&mut self, whole: Option<f64>) {
        self.down = false;
        self.run = 0;
        self.width = NARROWEST;
        let whole = whole.map(|whole| whole.clamp(-1.0, 1.0));
        self.elasticity = whole.or(self.elasticity);
        let step = match whole {
            Some(e) => (DRIFT * (e - PRICE)).clamp(-STRIDE, STRIDE),
            None if self.inflation() > INFLATED => -STRIDE,
            None => STRIDE,
        };
        self.estimate *= step.exp();
    }

    fn cap(&mut self, before: f64, high: &Point) {
        if self.floor_mean > 0.0 {
            let ceiling = CEILING * high.throughput * self.floor_mean.max(PROMPT);
            self.estimate = self.estimate.min(ceiling.max(LOWERED * before));
        }
        self.estimate = self.bounds.clamp(self.estimate);
    }

    /// Completions of a phase for a verdict over points this far apart (in ln n).
    fn need(&self, width: f64) -> f64 {
        let wanted = ERROR * width;
        (2.0 * self.service.spread() / (wanted * wanted)).max(FEWEST)
    }

    /// What the limit's own history says. While neighbours climb with this owner, latency rises as the limit does;
    /// if it does not, up or down, it is not load that makes the origin slow, and the floor was of other days.
    fn relearn_floor(&mut self, low: Point) {
        let Some(reference) = self.reference else { return self.reference = Some(low) };
        let (moved, slower) = (low.wider_than(&reference), low.slower_than(&reference));
        if moved.abs() < MOVED {
            if slower.abs() > MOVED {
                self.reference = Some(low);
            }
            return;
        }
        self.reference = Some(low);
        if (slower / moved).abs() < UNMOVED {
            self.floor_mean = low.mean();
            self.floor.forget();
        }
    }

    /// Chooses the next width from the verdicts in a row that agree.
    fn turn(&mut self, e: f64) {
        self.run = match e {
            e if e > GROWS => self.run.max(0).saturating_add(1),
            e if e < 0.1 => self.run.min(0).saturating_sub(1),
            _ => 0,
        };
        let inflation = self.inflation();
        // At the ceiling nothing is searched: the low phases only cost.
        let held_down = self.at_ceiling();
        if self.run >= 1 && (inflation < 0.5 || self.run >= 2) && !held_down {
            self.width = (2.0 * self.width).min(DOUBLING);
        } else if self.run <= -2 && inflation > INFLATED {
            self.down = true;
            self.width = ((inflation.exp() / 1.5).sqrt() - 1.0).clamp(START, DOUBLING);
        } else if self.run <= 0 || held_down {
            self.width = (0.6 * self.width).max(NARROWEST);
        }
    }
}
