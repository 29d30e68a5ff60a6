//! What follows from a phase that has ended: the next limit and the next phase.

use crate::sample::View;

use super::point::{Elasticity, Point};
use super::single::{DOUBLING, HARDLY_ANY, HEADROOM, Phase, Single};
use super::start::{Round, Start};

const SECOND: u64 = 1_000_000_000;
/// Inflation (ln R/floor) under which latency says "not saturated" (half above the floor) …
pub(super) const CALM: f64 = 0.4;
/// … and over which it says "saturated" (twice the floor). Between the two, ask the steady pair.
const INFLATED: f64 = 0.7;
/// … and over which evidence from the pairs is believed.
const CROWDED: f64 = 0.5;
/// … and the evidence that is believed without any hint: a floor is not known to whoever began above the knee.
const CERTAIN: f64 = 3.9;
/// What the estimate is multiplied by then: more would make the next pair the one that loses throughput.
const HASTE: f64 = 0.85;
/// Narrowest and widest step down. Narrower, the verdict takes longer than a wider step costs; wider, too little is
/// let in to get a verdict soon, and if it was wrong (a slower dependency is not load) nearly all is lost meanwhile
/// (measured over 30 s from a jump from 1 to 100 ms: 97.5 % goodput with a third, 96.8 % with an eighth).
const JUMP: (f64, f64) = (0.5, 2.0);
/// Width of the step down that verifies a search which never went up: of 0.4, 0.5 and 0.7 the best measured.
const VERIFY: f64 = 0.7;
/// Where the passive guard wakes: between the two above, since it needs no pair to have been measured.
const GUARD: f64 = 0.6;
/// … and the share of the limit that must be in use. With less, an origin that is slow for a moment is nobody's
/// overload, and to move the limit there would make the queue that it is meant to prevent.
const GUARDED: f64 = 0.5;
/// A knee that was measured is believed for this long: some twenty steady pairs.
const KNOWN: u64 = 20 * SECOND;
/// The price: one percent more concurrency must buy this much throughput. At 0.15 the low phase of the pair comes to
/// rest below the knee and costs 1 % of the throughput; at 0 nothing holds the limit from drifting upward.
const PRICE: f64 = 0.05;
/// Steady gain where the verdict has no error: under 1, so that noise is averaged over two or three pairs.
const GAIN: f64 = 0.7;
/// Elasticity that means "more is done with more" while searching up; `e > .5` overshot twice as far.
const GROWS: f64 = 0.8;
/// The same since the search began: several steps of 0.85 each are a knee too.
const GREW: f64 = 0.6;
/// ln of the throughput lost with less, under which less was as good: a wide step may leap over the knee, and its
/// elasticity is small all the same.
const AS_GOOD: f64 = 0.14;
/// Elasticity over which less was worse.
const WORSE: f64 = 0.7;
/// Between this and [`GROWS`] it may be either …
const UNCLEAR: f64 = 0.4;
/// … if the points are nearer than this (in ln n).
const FAR: f64 = 1.0;
/// Evidence (in standard errors) that the knee is higher, after which the search begins anew.
const CONVINCED: f64 = 2.0;

impl Single {
    /// The limit holds somebody back and nothing is being measured.
    pub(super) fn begin_search(&mut self, at: &View) {
        let inflation = self.floor.inflation();
        if self.cold && inflation < INFLATED {
            self.enter(at, Phase::Start);
        } else if (inflation < CALM && at.now > self.known_until)
            || inflation > INFLATED
            || self.known_until == 0
        {
            self.search_up(at, None);
        } else {
            self.settle_down(at);
        }
    }

    /// A window of traffic has closed. While nothing is measured, an inflated one is a reason to look: the load
    /// may be held below the limit by an origin that has lost capacity.
    pub(super) fn look_at(&mut self, at: &View, window: Point) {
        if self.phase != Phase::Idle {
            return;
        }
        self.throughput = Some(window.throughput);
        // While nothing is known of the knee the limit is low, and a crowd begins the slow start.
        let fewest = if self.cold { self.bounds.start as f64 } else { 2.0 };
        let many = (GUARDED * self.limit() as f64).max(fewest);
        let crowded = self.floor.unnoticed() > GUARD && window.concurrency > many;
        if crowded && at.now > self.snooze_until {
            self.guarding = true;
            self.estimate = window.concurrency;
            self.width = self.jump();
            self.previous = Some(window.taken_as_bound());
            self.enter(at, Phase::Down);
        }
    }

    /// A phase has ended with `point`.
    pub(super) fn conclude(&mut self, at: &View, point: Point, ignored: f64) {
        if point.count < HARDLY_ANY {
            if point.bound && ignored < HARDLY_ANY {
                self.estimate *= 0.7;
                self.enter(at, Phase::Base);
            } else {
                self.rest(at);
            }
            return;
        }
        if point.useful < 0.1 {
            // Nothing succeeds: whatever the reason is, less of it is better.
            self.estimate *= 0.5;
            self.previous = None;
            self.enter(at, Phase::Base);
            return;
        }
        if point.bound {
            self.throughput = Some(point.throughput);
        } else if !self.loses(&point) {
            self.let_in_as_many();
        }
        match self.phase {
            Phase::Idle | Phase::Start => {}
            Phase::Base => self.after_base(at, point),
            Phase::Up => self.after_up(at, point),
            Phase::Down => self.after_down(at, point),
            Phase::High => self.after_high(at, point),
            Phase::Low => self.after_low(at, point),
        }
    }

    /// A round of the slow start may have ended.
    pub(super) fn after_round(&mut self, at: &View, round: Round) {
        match round {
            Round::Next if self.at_ceiling() => {
                // There is no more to try. Pairs will tell whether less would do.
                self.cold = false;
                self.estimate = self.bounds.max as f64;
                self.settle_down(at);
            }
            Round::Open | Round::Next => {}
            Round::Unbound(enough) => {
                self.estimate = self.estimate.max(enough);
                self.let_in_as_many();
                if let Some(usual) =
                    self.start.as_ref().and_then(Start::usual).filter(|_| self.service.is_prompt())
                {
                    self.floor.hint(usual);
                }
                self.rest(at);
            }
            Round::Found(knee) => {
                self.cold = false;
                self.estimate = knee / HEADROOM;
                self.search_up(at, None);
            }
        }
    }

    fn after_base(&mut self, at: &View, point: Point) {
        if !point.bound {
            return self.rest(at);
        }
        self.previous = Some(point);
        self.base = Some(point);
        let inflation = self.floor.inflation();
        if inflation > INFLATED {
            self.estimate = point.concurrency;
            self.width = self.jump();
            self.enter(at, Phase::Down);
        } else {
            self.enter(at, Phase::Up);
        }
    }

    /// The width of a step down to 1.5 × throughput × floor, as BBR sizes its window: a guess, to be verified.
    fn jump(&self) -> f64 {
        (self.floor.unnoticed().exp() / 1.5 - 1.0).clamp(JUMP.0, JUMP.1)
    }

    fn after_up(&mut self, at: &View, point: Point) {
        if !point.bound && !self.loses(&point) {
            // The demand is satisfied below this limit.
            if at.now > self.known_until {
                self.estimate = self.estimate.max(point.concurrency);
            }
            return self.rest(at);
        }
        let Some(before) = self.previous else { return self.settle_down(at) };
        let Some(found) = self.found(&point, &before) else { return self.settle_down(at) };
        let since_base = match &self.base {
            Some(base) => point.elasticity_over(base).map_or(1.0, |all| all.value),
            None => found.value,
        };
        if found.value > GROWS && since_base > GREW {
            self.estimate = point.concurrency;
            self.width = (2.0 * self.width).min(DOUBLING);
            self.previous = Some(point);
            self.enter(at, Phase::Up);
        } else if found.value > UNCLEAR && found.width < FAR {
            // From further away the same error of measurement is a smaller one of the elasticity.
            self.estimate = point.concurrency;
            self.enter(at, Phase::Up);
        } else {
            // Two straight lines, of slope 1 and 0 in ln X over ln n: where they meet is the knee.
            let mut knee = between(&before, found, found.value.max(0.0));
            let grown = before.concurrency > 1.2 * self.base.map_or(0.0, |base| base.concurrency);
            match self.base.and_then(|base| point.elasticity_over(&base).map(|all| (base, all))) {
                // The same from further away: the mean of both has half of the error.
                Some((base, all)) if grown => {
                    knee = (knee * between(&base, all, all.value.max(0.0))).sqrt();
                }
                _ => {}
            }
            if grown || self.verified || at.now <= self.known_until {
                self.estimate = knee.min(point.concurrency);
                self.settle_down(at);
            } else {
                // Nothing grew, from the first step on: the search may have begun above the knee.
                self.estimate = before.concurrency;
                self.width = VERIFY;
                self.enter(at, Phase::Down);
            }
        }
    }

    fn after_down(&mut self, at: &View, point: Point) {
        if !point.bound {
            return self.rest(at);
        }
        let Some(before) = self.previous else { return self.settle_down(at) };
        let Some(found) = self.found(&before, &point) else { return self.settle_down(at) };
        if found.value * found.width < AS_GOOD {
            // The suspicion was right. What follows looks for the knee, whoever began.
            self.guarding = false;
            self.estimate = point.concurrency.max(1.0);
            self.width = self.width.min(0.5);
            self.previous = Some(point);
            // At the floor of latency nothing waits inside any more: still less could only be worse. Unless it is
            // this very descent that finds the floor.
            let at_floor = self.crowded && self.floor.unnoticed() < CALM;
            let lowest = at_floor || self.limit() <= self.bounds.min.max(1);
            return if lowest { self.settle_down(at) } else { self.enter(at, Phase::Down) };
        }
        if found.value <= WORSE {
            self.snooze = 0;
            self.estimate = between(&point, found, found.value);
            return self.settle_down(at);
        }
        // Not saturated, merely slower: the floor was of other days.
        self.floor.forget();
        if self.guarding {
            self.snooze = (2 * self.snooze).clamp(2 * SECOND, 60 * SECOND);
            self.snooze_until = at.now.saturating_add(self.snooze);
            self.estimate = self.estimate.max(before.concurrency * 1.1);
            self.rest(at);
        } else {
            self.estimate = before.concurrency;
            self.search_up(at, Some(before));
            self.verified = true;
        }
    }

    fn after_high(&mut self, at: &View, point: Point) {
        if !point.bound {
            return self.rest(at);
        }
        if let Some(last) = self.last_high.filter(|last| point.wider_than(last).abs() < 0.2) {
            let variance = point.slower_than(&last).powi(2).min(1.0) / 2.0;
            self.scatter = if self.scatter > 0.0 {
                0.85 * self.scatter + 0.15 * variance
            } else {
                variance.max(self.service.spread() / point.count.max(1.0))
            };
        }
        self.last_high = Some(point);
        let shift = self.level.map_or(0.0, |level| {
            point.noticeably_slower_than(&level) - 0.5 * point.wider_than(&level).max(-1.0)
        });
        if shift.abs() > self.shift_error(point.count).max(0.4) {
            // More than the limit explains: ask boldly, in the direction that the latency points to.
            self.level = None;
            self.estimate = point.concurrency;
            if shift < 0.0 {
                self.search_up(at, Some(point));
            } else {
                self.width = DOUBLING;
                self.previous = Some(point);
                self.enter(at, Phase::Down);
            }
            return;
        }
        self.level = Some(point);
        if at.now < self.held_down_until && self.at_ceiling() {
            // Less would be worse, and more may not be: until it is time to ask again, it stays.
            return self.enter(at, Phase::High);
        }
        self.previous = Some(point);
        self.enter(at, Phase::Low);
    }

    fn after_low(&mut self, at: &View, point: Point) {
        if !point.bound {
            return self.rest(at);
        }
        let Some(high) = self.previous else { return self.settle_down(at) };
        let Some(found) = self.found(&high, &point) else { return self.enter(at, Phase::High) };
        let error = self.error_of(found, point.count);
        let gain = GAIN / (1.0 + (error / 0.5).powi(2));
        self.estimate *= (gain * found.width * (found.value - PRICE)).exp();
        if found.value < 0.5 {
            self.known_until = at.now.saturating_add(KNOWN);
        }
        let held_down = found.value > GREW && self.at_ceiling();
        self.held_down_until = if held_down { at.now.saturating_add(KNOWN) } else { 0 };
        let calm = if self.floor.inflation() < 0.1 { 0.5 } else { 0.0 };
        self.score = (self.score + (found.value - 0.45) / error.max(0.25) + calm).clamp(0.0, 4.0);
        let falling = self.falling + (0.1 - found.value) / error.max(0.25);
        self.falling = falling.clamp(0.0, 4.0);
        if self.falling > CONVINCED && (self.floor.inflation() > CROWDED || self.falling > CERTAIN) {
            self.falling = CONVINCED / 2.0;
            if self.floor.inflation() > INFLATED {
                self.estimate = point.concurrency;
                self.width = self.jump();
                self.previous = Some(point);
                return self.enter(at, Phase::Down);
            }
            self.estimate *= HASTE;
        }
        if self.score > CONVINCED && !held_down {
            self.score = 0.0;
            self.search_up(at, None);
        } else {
            self.width = self.steady_width();
            self.previous = None;
            self.enter(at, Phase::High);
        }
    }

    /// The demand is satisfied: where answers are prompt all that ever came at once may come again, or the next burst
    /// would begin the search anew, and wait meanwhile.
    fn let_in_as_many(&mut self) {
        if self.service.is_prompt() {
            self.estimate = self.estimate.max(self.peak as f64 / HEADROOM);
        }
    }

    /// Was more done, promptly, at the point before, with less at once? Then demand that is satisfied here is no reason
    /// to stay: clients in a loop are satisfied at any pace.
    fn loses(&self, point: &Point) -> bool {
        let before = self.previous.filter(|_| self.service.is_prompt());
        before.and_then(|before| point.elasticity_over(&before)).is_some_and(|found| found.value < 0.0)
    }

    fn found(&mut self, high: &Point, low: &Point) -> Option<Elasticity> {
        let found = high.elasticity_over(low);
        self.elasticity = found.map(|found| found.value).or(self.elasticity);
        found
    }

    /// The limit holds nobody back: nothing can be learned about it.
    fn rest(&mut self, at: &View) {
        self.guarding = false;
        self.width = self.steady_width();
        self.enter(at, Phase::Idle);
    }

    /// Near the knee: measure in pairs from now on.
    fn settle_down(&mut self, at: &View) {
        self.width = self.steady_width();
        self.base = None;
        self.previous = None;
        self.level = None;
        self.falling = 0.0;
        self.guarding = false;
        self.enter(at, Phase::High);
    }

    fn search_up(&mut self, at: &View, from: Option<Point>) {
        self.width = DOUBLING;
        self.base = from;
        self.previous = from;
        self.verified = false;
        self.enter(at, if from.is_some() { Phase::Up } else { Phase::Base });
    }
}

/// The concurrency at which a line of slope 1 from `low` meets the level of the high point.
fn between(low: &Point, found: Elasticity, elasticity: f64) -> f64 {
    low.concurrency.max(0.05) * (found.width * elasticity).exp()
}
