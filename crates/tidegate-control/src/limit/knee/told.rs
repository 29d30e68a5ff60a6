//! What the origin tells of itself: how much it has in flight from all its owners.
//!
//! With one clock all owners move together, and the origin's own count moves as each owner's does. Without one they
//! cancel each other out: the count hardly moves, and a pair of limits tells nothing but the owner's own share. Then
//! the count and the latency are compared over the last verdicts instead, while all owners rise or fall.

use super::point::{Elasticity, Point};

/// The share of its own step by which the origin's count must follow an owner that moves with the others.
const TOGETHER: f64 = 0.5;
/// An origin cannot have less than this owner alone has there, but for the moments at which both count. One that says
/// so speaks for a part of itself (one of several machines, one worker process).
const WHOLE: f64 = 0.7;
/// Of a side's completions so many must have had a report: of fewer, nobody knows which.
const MOSTLY: f64 = 0.5;
/// What older verdicts keep at each new one: the last ten count.
const KEEP: f64 = 0.9;
/// Standard deviation of ln n from which on a slope says something: a tenth up or down.
const SPREAD: f64 = 0.1;
/// ln of a latency that changes by so much, while the count does not, is another origin.
const ANOTHER: f64 = 0.4;

/// Reports that came within a side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Told {
    sum: f64,
    count: f64,
}

impl Told {
    pub(super) fn add(&mut self, in_flight: u64) {
        self.sum += in_flight as f64;
        self.count += 1.0;
    }

    /// Their mean, if it can be that of all the origin has.
    fn mean(self, point: &Point) -> Option<f64> {
        let mean = self.sum / self.count.max(1.0);
        let whole = mean >= WHOLE * point.concurrency.max(1.0);
        (self.count >= MOSTLY * point.count && whole).then_some(mean)
    }
}

/// What a pair of sides says, seen from the origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    /// It tells nothing. Does the owner's own past speak against what the pair says?
    Nothing { contradicted: bool },
    /// The others moved with this owner, by so much (in ln n).
    Together(f64),
    /// They did not. The elasticity of the whole over the last verdicts, once they differ enough.
    Alone(Option<f64>),
}

/// The pair says that more is done with more, and the past that it is not: so many times more often than not, until
/// the owner is taken to be alone. Sixteen owners without a clock notice half of the time, those with one never did.
const CONTRADICTIONS: (u8, u8) = (3, 6);
const GROWS: f64 = 0.65;
const GREW: f64 = 0.4;

/// The last verdicts: sums of x = ln n and y = ln R, both against `first`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History {
    first: Option<(f64, Point)>,
    last: Option<(f64, f64)>,
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    contradictions: u8,
}

impl History {
    /// A pair of sides: their points, what was told within them, and what the pair itself says.
    pub(super) fn learn(&mut self, low: (&Point, Told), high: (&Point, Told), pair: Elasticity) -> Seen {
        let (Some(n_low), Some(n_high)) = (low.1.mean(low.0), high.1.mean(high.0)) else {
            return self.learn_own(low.0, pair);
        };
        let whole = self.slope((n_low * n_high).sqrt().ln(), low.0).map(|slope| 1.0 - slope);
        let moved = (n_high / n_low).ln();
        if moved >= TOGETHER * pair.width {
            Seen::Together(moved.min(pair.width / TOGETHER))
        } else {
            Seen::Alone(whole)
        }
    }

    /// Without reports: while all climb, the latency climbs with the owner's own limit, although each of its pairs says
    /// that it gains. That can be told, but not mended from here: to climb less only leaves the others more.
    fn learn_own(&mut self, low: &Point, pair: Elasticity) -> Seen {
        let slope = self.slope(low.concurrency.max(0.05).ln(), low);
        let (enough, most) = CONTRADICTIONS;
        self.contradictions = match slope {
            Some(slope) if pair.value > GROWS && 1.0 - slope < GREW => (self.contradictions + 1).min(most),
            _ => self.contradictions.saturating_sub(1),
        };
        Seen::Nothing { contradicted: self.contradictions >= enough }
    }

    /// d ln R / d ln n over the last verdicts.
    fn slope(&mut self, n: f64, point: &Point) -> Option<f64> {
        let (first, from) = *self.first.get_or_insert((n, *point));
        let (x, y) = (n - first, point.slower_than(&from));
        if self.last.is_some_and(|(before, slower)| (y - slower).abs() > ANOTHER + (x - before).abs()) {
            let contradictions = self.contradictions;
            *self = Self { first: Some((n, *point)), contradictions, ..Self::default() };
            return None;
        }
        self.last = Some((x, y));
        for sum in [&mut self.weight, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= KEEP;
        }
        self.weight += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
        let (mean_x, mean_y) = (self.x / self.weight, self.y / self.weight);
        let variance = self.xx / self.weight - mean_x * mean_x;
        let both = self.xy / self.weight - mean_x * mean_y;
        (variance > SPREAD * SPREAD).then(|| both / variance)
    }
}
