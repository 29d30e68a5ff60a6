//! The slow start: from nothing known to the neighbourhood of the knee in a handful of round trips.

use crate::sample::View;

use super::point::{Point, Tally};
use super::service::PROMPT;
use super::single::HARDLY_ANY;

/// ln of the latency (by Little's law) over that of the rounds before at which more is not done with more: half
/// of a doubling that bought nothing …
const HALFWAY: f64 = 0.35;
/// … and so many standard errors of a round of exponential times: of a first round of 16 one alone is a quarter.
const ERRORS: f64 = 1.5;
/// With a smaller share of useful work, the measured phases must judge: they know how to give way.
const MOSTLY: f64 = 0.5;
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

/// Unit-seconds and completions of a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Held {
    area: f64,
    count: f64,
}

impl Held {
    /// What a point was made of.
    pub(super) fn of(point: &Point) -> Self {
        Self { area: held(point) * point.count, count: point.count }
    }

    fn and(self, more: Self) -> Self {
        Self { area: self.area + more.area, count: self.count + more.count }
    }

    /// Seconds a unit was held; `None` where nothing came back.
    fn mean(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.area / self.count)
    }

    /// The same, as far as anybody notices.
    fn noticed(self) -> Option<f64> {
        self.mean().map(|mean| mean.max(PROMPT))
    }

    /// The longest that it may have been, as far as so few can tell.
    fn longest(self) -> f64 {
        self.mean().map_or(f64::INFINITY, |mean| mean * (ERRORS / self.count.sqrt()).exp())
    }

    /// How much shorter a unit was held usually: 1 where that is not known.
    fn usual_over(self, usual: Self) -> f64 {
        usual.noticed().zip(self.noticed()).map_or(1.0, |(usual, now)| usual / now)
    }

    /// Longer than usual, by more than chance explains.
    fn is_longer_than(self, usual: Self) -> bool {
        let error = (1.0 / self.count + 1.0 / usual.count).sqrt();
        -self.usual_over(usual).ln() > HALFWAY + ERRORS * error
    }
}

/// As TCP's slow start (RFC 5681, 3.1): one more for each useful completion, which doubles the limit each round
/// trip. A round ends with as many units done as the limit was at its begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub(super) limit: u64,
    tally: Tally,
    wanted: f64,
    begun: f64,
    /// All until this round.
    before: Held,
    /// That beginning of it which was the fastest: nothing says that the later rounds were below the knee.
    usual: Held,
}

impl Start {
    /// `before` is what came back while the limit held nobody back.
    pub(super) fn begin(at: &View, limit: u64, before: Held) -> Self {
        Self {
            limit,
            tally: Tally::begin(at),
            wanted: limit as f64,
            begun: limit as f64,
            before,
            usual: before,
        }
    }

    /// Seconds a unit was held in the fastest beginning.
    pub(super) fn usual(&self) -> Option<f64> {
        self.usual.mean()
    }

    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// `weight` useful units came back while the limit was binding. A round that takes longer than it should grows
    /// no more: what it will say is clear, and four workers of 100 ms would be given a hundred requests meanwhile.
    pub(super) fn grow(&mut self, at: &View, weight: u64) {
        if self.usual.noticed().is_none_or(|usual| self.tally.elapsed(at) <= LATE * usual) {
            self.limit = self.limit.saturating_add(weight);
        }
    }

    /// Time went by. `overtime` says how many seconds a round may last.
    pub(super) fn look(&mut self, at: &View, overtime: f64) -> Round {
        let late = self.tally.elapsed(at) > overtime;
        if self.tally.units() < self.wanted && !late {
            return Round::Open;
        }
        let Some(point) = self.tally.point(at) else { return Round::Open };
        if point.useful < MOSTLY || point.count < HARDLY_ANY {
            return Round::Found(point.concurrency);
        }
        let round = Held::of(&point);
        // What this concurrency would be without the waiting inside the origin; with the limit of the begin nobody
        // had to wait, whatever has become of the origin since.
        let knee = (point.concurrency * round.usual_over(self.usual).min(1.0)).max(self.begun);
        if round.is_longer_than(self.usual) {
            return Round::Found(knee);
        }
        if !point.bound {
            return Round::Unbound(knee);
        }
        if late {
            return Round::Found(knee);
        }
        self.before = self.before.and(round);
        if self.before.longest() < self.usual.longest() {
            self.usual = self.before;
        }
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
