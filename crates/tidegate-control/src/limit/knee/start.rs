//! The slow start: from nothing known to the neighbourhood of the knee in a handful of round trips.

use crate::sample::View;

use super::point::{Point, Tally};

/// ln of the latency (by Little's law) over that of the rounds before at which more is not done with more: half
/// of a doubling that bought nothing …
const HALFWAY: f64 = 0.35;
/// … and so many standard errors of a round of exponential times: of a first round of 16 one alone is a quarter.
const ERRORS: f64 = 1.5;
/// A round lasts as long as a request below the knee; this many times that long, it is saturated.
const LATE: f64 = 1.5;

/// What a completion during the slow start leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Round {
    /// The round goes on.
    Open,
    /// One has ended, the next has begun.
    Next,
    /// The limit does not hold anybody back any more: this concurrency satisfies the demand.
    Unbound(f64),
    /// More buys nothing any more: the knee is near this concurrency.
    Found(f64),
}

/// As TCP's slow start (RFC 5681, 3.1): one more for each useful completion, which doubles the limit each round
/// trip. A round ends with as many completions as the limit was at its begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub(super) limit: u64,
    tally: Tally,
    wanted: f64,
    /// Unit-seconds and completions of all rounds before, which were below the knee.
    before: (f64, f64),
}

impl Start {
    pub(super) fn begin(at: &View, limit: u64) -> Self {
        Self { limit, tally: Tally::begin(at), wanted: limit as f64, before: (0.0, 0.0) }
    }

    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// `weight` useful units came back while the limit was binding. A round that takes longer than it should grows
    /// no more: what it will say is clear, and four workers of 100 ms would be given a hundred requests meanwhile.
    pub(super) fn grow(&mut self, at: &View, weight: u64) {
        let (area, count) = self.before;
        if count <= 0.0 || self.tally.elapsed(at) <= LATE * area / count {
            self.limit = self.limit.saturating_add(weight);
        }
    }

    /// Time went by. `overtime` says how many seconds a round may last.
    pub(super) fn look(&mut self, at: &View, overtime: f64) -> Round {
        let late = self.tally.elapsed(at) > overtime;
        if self.tally.count() < self.wanted && !late {
            return Round::Open;
        }
        let Some(point) = self.tally.point(at) else { return Round::Open };
        if late {
            return Round::Found(point.concurrency);
        }
        let held = held(&point);
        let (area, count) = self.before;
        let usual = if count > 0.0 { area / count } else { held };
        // What this concurrency would be without the waiting inside the origin.
        let knee = point.concurrency * (usual / held).min(1.0);
        if (held / usual).ln() > HALFWAY + ERRORS / count.max(1.0).sqrt() {
            return Round::Found(knee);
        }
        if !point.bound {
            return Round::Unbound(knee);
        }
        self.before = (area + held * point.count, count + point.count);
        self.wanted = self.limit as f64;
        self.tally = Tally::begin(at);
        Round::Next
    }
}

/// Seconds a unit was held, by Little's law. The mean of what came back would be too short while ever more begins:
/// the short ones come back first.
fn held(point: &Point) -> f64 {
    point.concurrency / point.throughput.max(f64::MIN_POSITIVE)
}
