//! One measured point of the capacity curve, and what two of them tell.

use crate::sample::{KINDS, View};

use super::service::PROMPT;

/// Two points nearer than this (in ln n) cannot be told apart from noise.
const NEAREST: f64 = 0.03;
/// A share of useful work below this is taken for it, so that its logarithm stays finite.
const LEAST_OK: f64 = 1e-3;
/// In force for this share of a phase, the limit has made the phase what it was.
const BOUND_SHARE: f64 = 0.7;
/// Elasticities outside of this are noise: 1 is the most that physics allows below a knee, and −1 is already a
/// collapse that calls for the strongest reaction there is.
const ELASTICITY: (f64, f64) = (-1.0, 1.3);

/// Where latency is no price (see [`PROMPT`]), lost throughput still is: one percent of it weighs as much as so many
/// percent that a slow origin does not gain. A pair whose elasticity is −0.16 is then as bad as saturation; noise
/// makes half of the pairs before an origin of constant throughput seem to lose, and the limit rises all the same.
const LOSS: f64 = 6.0;

/// Completions and time of one kind: (units, units × seconds).
type Kinds = [(f64, f64); KINDS];

/// Sums over a stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    since: u64,
    area: u64,
    kinds: Kinds,
    count: f64,
    units: f64,
    useful: f64,
    ignored: f64,
    bound: f64,
}

impl Tally {
    /// Begins at this moment.
    pub(super) fn begin(at: &View) -> Self {
        Self { since: at.now, area: at.area, ..Self::default() }
    }

    /// `nanos` went by in which the limit was binding.
    pub(super) fn bound(&mut self, nanos: u64) {
        self.bound += nanos as f64 / 1e9;
    }

    /// `weight` units were held for `seconds`; `useful` if somebody still wanted the result.
    pub(super) fn add(&mut self, kind: u8, weight: u64, seconds: f64, useful: bool) {
        let weight = weight.max(1) as f64;
        if let Some((units, time)) = self.kinds.get_mut(usize::from(kind).min(KINDS - 1)) {
            *units += weight;
            *time += weight * seconds;
        }
        self.count += 1.0;
        self.units += weight;
        if useful {
            self.useful += weight;
        }
    }

    /// Something ended that says nothing about load.
    pub(super) fn ignore(&mut self) {
        self.ignored += 1.0;
    }

    /// Completions that counted.
    pub(super) fn count(&self) -> f64 {
        self.count
    }

    /// Units of the completions that counted.
    pub(super) fn units(&self) -> f64 {
        self.units
    }

    /// Completions that did not count.
    pub(super) fn ignored(&self) -> f64 {
        self.ignored
    }

    /// Seconds since the begin.
    pub(super) fn elapsed(&self, at: &View) -> f64 {
        at.now.saturating_sub(self.since) as f64 / 1e9
    }

    /// The point that was measured until now; `None` if no time went by.
    pub(super) fn point(&self, at: &View) -> Option<Point> {
        let elapsed = self.elapsed(at);
        if elapsed <= 0.0 {
            return None;
        }
        let area = at.area.wrapping_sub(self.area) as f64 / 1e9;
        Some(self.point_over(elapsed, area, self.bound / elapsed > BOUND_SHARE))
    }

    /// The point for sums of time and area (in unit-seconds) that were kept elsewhere.
    pub(super) fn point_over(&self, elapsed: f64, area: f64, bound: bool) -> Point {
        Point {
            concurrency: area / elapsed,
            kinds: self.kinds,
            throughput: self.useful / elapsed,
            useful: self.useful / self.units.max(1.0),
            bound,
            count: self.count,
        }
    }
}

/// One measured point of the capacity curve.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    /// Mean units in flight.
    pub(super) concurrency: f64,
    kinds: Kinds,
    /// Useful units a second.
    pub(super) throughput: f64,
    /// Share of the completed units that somebody still wanted.
    pub(super) useful: f64,
    /// The limit was what held the concurrency there.
    pub(super) bound: bool,
    /// Completions behind it.
    pub(super) count: f64,
}

impl Point {
    /// The same measurement, believed to have been held there by the limit.
    pub(super) fn taken_as_bound(self) -> Self {
        Self { bound: true, ..self }
    }

    /// Seconds a unit was held, whatever the mix of kinds was.
    pub(super) fn mean(&self) -> f64 {
        let (units, time) = self.kinds.iter().fold((0.0, 0.0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
        if units > 0.0 { time / units } else { 0.0 }
    }

    /// ln R(self) − ln R(low), each kind's mean weighted with its share in both together (post-stratification):
    /// a phase that happened to get more of the slow kind does not look slower for it.
    pub(super) fn slower_than(&self, low: &Self) -> f64 {
        self.beside(low).map_or(0.0, |(here, there, _)| (here / there).ln())
    }

    /// The same as far as anybody notices it.
    pub(super) fn noticeably_slower_than(&self, low: &Self) -> f64 {
        self.beside(low).map_or(0.0, |(here, there, units)| {
            let prompt = PROMPT * units;
            (here.max(prompt) / there.max(prompt)).ln()
        })
    }

    /// Seconds that the units of both together would be held, here and there, and how many those are.
    fn beside(&self, low: &Self) -> Option<(f64, f64, f64)> {
        let (mut here, mut there, mut units) = (0.0, 0.0, 0.0);
        for (high, low) in self.kinds.iter().zip(&low.kinds) {
            if high.0 > 0.0 && low.0 > 0.0 {
                let both = high.0 + low.0;
                here += both * high.1 / high.0;
                there += both * low.1 / low.0;
                units += both;
            }
        }
        (here > 0.0 && there > 0.0).then_some((here, there, units))
    }

    /// ln n(self) − ln n(low).
    pub(super) fn wider_than(&self, low: &Self) -> f64 {
        (self.concurrency.max(0.05) / low.concurrency.max(0.05)).ln()
    }

    /// The elasticity of useful throughput with respect to concurrency between `low` and this point, with their
    /// distance in ln n. `None` if they are too near to each other.
    ///
    /// Little's law: X = n / R, so d ln X / d ln n = 1 − d ln R / d ln n; what nobody wanted is no throughput. While
    /// answers are [`PROMPT`], all of it counts as gained that is not lost.
    pub(super) fn elasticity_over(&self, low: &Self) -> Option<Elasticity> {
        let width = self.wider_than(low);
        if width.is_nan() || width < NEAREST {
            return None;
        }
        let value = self.elasticity_within(low, width);
        (!value.is_nan()).then_some(Elasticity { value, width })
    }

    /// The same where the points are known to be `width` apart.
    pub(super) fn elasticity_within(&self, low: &Self, width: f64) -> f64 {
        // More at once never makes more of it useful: if it looks so, the low phase paid for something earlier.
        let useful = (self.useful.max(LEAST_OK) / low.useful.max(LEAST_OK)).ln().min(0.0);
        let value = 1.0 + (useful - self.slower_than(low)) / width;
        let noticed = 1.0 + (useful - self.noticeably_slower_than(low)) / width;
        noticed.min(value.max(1.0 + LOSS * value)).clamp(ELASTICITY.0, ELASTICITY.1)
    }
}

/// d ln throughput / d ln concurrency between two points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Elasticity {
    /// 1 below the knee, 0 above it, negative in collapse.
    pub(super) value: f64,
    /// The points' distance in ln n.
    pub(super) width: f64,
}
