//! [`Shares`]: what a stage's workers spent their time on.
//!
//! Only waits are timed, so that work which never waits reads no clock for this; the rest of a worker's time is work.

/// What a worker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Something to work on.
    Input,
    /// The turn of what is done.
    Turn,
    /// Room for what it will make.
    Room,
}

/// The shares of a stage's time; together they are 1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Shares {
    /// In its function, also where that awaits.
    pub busy: f64,
    /// Nothing there to work on.
    pub starved: f64,
    /// The next stage has no room, or it is not yet the turn of what is done.
    pub blocked_on_output: f64,
    /// The pipeline has no bytes left.
    pub blocked_on_budget: f64,
}

/// Nanoseconds of workers, by what they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    alive: u64,
    waits: [u64; 3],
}

impl Times {
    /// What was added since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let [input, output, budget] = self.waits;
        let [before_input, before_output, before_budget] = earlier.waits;
        Self {
            alive: self.alive.saturating_sub(earlier.alive),
            waits: [
                input.saturating_sub(before_input),
                output.saturating_sub(before_output),
                budget.saturating_sub(before_budget),
            ],
        }
    }

    /// Without any time, all of it was spent on waiting for something to do.
    pub(super) fn shares(&self) -> Shares {
        let [input, output, budget] = self.waits;
        // A wait is read a moment after the whole, at worst.
        let whole = self.alive.max(input.saturating_add(output).saturating_add(budget));
        if whole == 0 {
            return Shares { busy: 0.0, starved: 1.0, blocked_on_output: 0.0, blocked_on_budget: 0.0 };
        }
        let share = |part: u64| part as f64 / whole as f64;
        let (starved, blocked_on_output, blocked_on_budget) = (share(input), share(output), share(budget));
        let busy = (1.0 - starved - blocked_on_output - blocked_on_budget).max(0.0);
        Shares { busy, starved, blocked_on_output, blocked_on_budget }
    }
}

/// How many are at something, summed over time.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    many: u64,
    last: u64,
    total: u64,
}

impl Level {
    fn total(&self, now: u64) -> u64 {
        self.total.saturating_add(self.many.saturating_mul(now.saturating_sub(self.last)))
    }

    fn set(&mut self, many: u64, now: u64) {
        *self = Self { many, last: now, total: self.total(now) };
    }

    fn add(&mut self, now: u64) {
        self.set(self.many + 1, now);
    }

    fn remove(&mut self, now: u64) {
        self.set(self.many.saturating_sub(1), now);
    }
}

/// The clock of one stage.
#[derive(Debug, Default)]
pub(super) struct StageClock {
    alive: Level,
    input: Level,
    turn: Level,
    /// Those that wait for room, because the next stage has none, or because the pipeline has none: whichever holds for
    /// the first of them.
    rooms: [Level; 2],
    for_budget: bool,
}

impl StageClock {
    pub(super) fn begin(&mut self, now: u64) {
        self.alive.add(now);
    }

    pub(super) fn end(&mut self, now: u64) {
        self.alive.remove(now);
    }

    pub(super) fn wait(&mut self, wait: Wait, now: u64) {
        self.level(wait).add(now);
    }

    pub(super) fn go_on(&mut self, wait: Wait, now: u64) {
        self.level(wait).remove(now);
    }

    /// Do those that wait for room wait for the budget? True if that is news.
    pub(super) fn is_news(&self, for_budget: bool) -> bool {
        self.for_budget != for_budget
    }

    pub(super) fn room_is_for(&mut self, for_budget: bool, now: u64) {
        if self.for_budget != for_budget {
            let [output, budget] = &mut self.rooms;
            let (from, to) = if for_budget { (output, budget) } else { (budget, output) };
            to.set(from.many, now);
            from.set(0, now);
            self.for_budget = for_budget;
        }
    }

    fn level(&mut self, wait: Wait) -> &mut Level {
        let [output, budget] = &mut self.rooms;
        match wait {
            Wait::Input => &mut self.input,
            Wait::Turn => &mut self.turn,
            Wait::Room if self.for_budget => budget,
            Wait::Room => output,
        }
    }

    pub(super) fn times(&self, now: u64) -> Times {
        let [output, budget] = &self.rooms;
        let output = output.total(now).saturating_add(self.turn.total(now));
        Times { alive: self.alive.total(now), waits: [self.input.total(now), output, budget.total(now)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_waited_is_work() {
        let mut clock = StageClock::default();
        clock.begin(0);
        clock.begin(0);
        clock.wait(Wait::Input, 10);
        clock.go_on(Wait::Input, 30);
        clock.wait(Wait::Room, 40);
        clock.room_is_for(true, 50);
        let early = clock.times(60);
        clock.go_on(Wait::Room, 80);
        let shares = clock.times(100).shares();
        assert_eq!(shares.starved, 0.1);
        assert_eq!((shares.blocked_on_output, shares.blocked_on_budget), (0.05, 0.15));
        assert!((shares.busy - 0.7).abs() < 1e-9);
        let late = clock.times(100).since(&early).shares();
        assert_eq!((late.starved, late.blocked_on_budget), (0.0, 0.25));
        clock.end(100);
        clock.end(100);
        assert_eq!(clock.times(1000), clock.times(100), "those that have ended do nothing");
    }

    #[test]
    fn no_time_is_no_work() {
        assert_eq!(Times::default().shares().starved, 1.0);
    }
}
