//! How long may a newcomer wait? A budget that fits the load.

/// Time constant of the measured rates (nanoseconds): long enough that the noise of 500 arrivals a second is under
/// 3 %, short enough that a step of the load is seen within a fraction of it.
const MEMORY: f64 = 2e9;
/// Rates are brought up to date this often (nanoseconds).
const PACE: u64 = 10_000_000;
/// The share of the throughput that too short a queue may cost.
const LOSS: f64 = 0.02;
/// The measured load may be wrong by this factor, in either direction.
const UNSURE: f64 = 1.06;
/// Places at least: callers come in bursts, and an origin that idles between two bursts has lost that time.
const FEWEST: f64 = 8.0;
/// Places at most. At load 1 a queue of K places before c workers loses about 1/(K + √(πc/2)) (M/M/c/K with
/// Stirling's formula): 33 places lose under 3 % before ten workers, and each further place buys less than it
/// costs in latency (measured: 38 gain 0.5 % and cost 9 ms of 150 at the 99th percentile).
const MOST: f64 = 33.0;
/// Never less than this (nanoseconds): below, the budget would be a matter of scheduling.
const SHORTEST: f64 = 5e6;
/// … and never less than this share of the service time: a wait that short is not felt.
const OF_SERVICE: f64 = 0.25;
/// While the limit is being searched the drain rate lags behind it and the load is not known: callers may wait this
/// share of a service time, so that the next, higher limit finds somebody to admit …
const WHILE_SEARCHING: f64 = 0.25;
/// … or so many places. With [`MOST`] and a whole service time, who came in the first second of a crowd waited that
/// long before an origin whose queue was full already (simulated crowd of ten times the capacity: 163 ms at the 99th
/// percentile instead of 140).
const SEARCHING: f64 = 16.0;
const SECOND: f64 = 1e9;

/// How long a newcomer may wait, from the load that is measured.
///
/// The load ρ is arrivals over the rate at which the queue is served. Far above 1 a few places keep the origin
/// busy and more only make everybody late; near 1 the queue must outlast the lulls between arrivals; far below 1 it
/// is needed for bursts alone. The budget is the time that the smallest sufficient number of places takes to drain.
///
/// Every call is O(1) and allocates nothing. Times are nanoseconds of one clock; one that runs backwards is taken
/// to stand still.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Door {
    settled: Option<u64>,
    arrivals: u64,
    arrived_units: u64,
    dispatched_units: u64,
    /// Units a second.
    arriving: f64,
    leaving: f64,
    draining: f64,
    ticked: u64,
    /// Units of one caller.
    weight: f64,
    /// How much of [`MEMORY`] has been filled, 0 to 1: with rates of arrival and departure, with drain rates.
    filled: f64,
    drained: f64,
    budget: u64,
}

impl Default for Door {
    fn default() -> Self {
        Self::new()
    }
}

impl Door {
    /// A door that lets everybody wait until the drain rate is known.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settled: None,
            arrivals: 0,
            arrived_units: 0,
            dispatched_units: 0,
            arriving: 0.0,
            leaving: 0.0,
            draining: 0.0,
            ticked: 0,
            weight: 1.0,
            filled: 0.0,
            drained: 0.0,
            budget: u64::MAX,
        }
    }

    /// A caller of `weight` units came at `now`, whatever becomes of it.
    pub fn arrived(&mut self, now: u64, weight: u64) {
        self.settled.get_or_insert(now);
        self.arrivals = self.arrivals.saturating_add(1);
        self.arrived_units = self.arrived_units.saturating_add(weight);
    }

    /// `weight` units were admitted at `now`, at once or after a wait.
    pub fn dispatched(&mut self, now: u64, weight: u64) {
        self.settled.get_or_insert(now);
        self.dispatched_units = self.dispatched_units.saturating_add(weight);
    }

    /// Time went by. `drain_rate` is in units a second, as measured while callers waited (`None` before that);
    /// `limit` is the limit in force; `searching` says that the limit is on its way to somewhere else.
    pub fn tick(&mut self, now: u64, drain_rate: Option<f64>, limit: u64, searching: bool) {
        let settled = *self.settled.get_or_insert(now);
        let elapsed = now.saturating_sub(settled);
        if elapsed >= PACE {
            self.settle(elapsed as f64);
            self.settled = Some(now);
        }
        let Some(drain) = drain_rate.filter(|rate| rate.is_finite() && *rate > 0.0) else { return };
        let limit = limit.max(1) as f64;
        // Single windows scatter by 10 % and more; of a load near 1 that is all the difference.
        let since = if self.ticked == 0 { PACE } else { now.saturating_sub(self.ticked) } as f64;
        let gain = average(&mut self.drained, since);
        self.draining += gain * (drain - self.draining);
        self.ticked = now;
        let load = self.load().unwrap_or(1.0);
        let service = limit / drain * SECOND; // Little's law
        let places = if searching { SEARCHING } else { places(load, limit / self.weight) };
        let mut budget = (places * self.weight / drain * SECOND).max(SHORTEST).max(OF_SERVICE * service);
        if searching {
            budget = budget.max(WHILE_SEARCHING * service);
        }
        self.budget = budget as u64;
    }

    /// How long a newcomer may wait, in nanoseconds; `u64::MAX` before anything was measured. The caller's own
    /// caps (its patience, its deadline, the longest wait allowed) come on top.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// What arrives as a share of what can be served; `None` before both were measured.
    #[must_use]
    pub fn load(&self) -> Option<f64> {
        let served = self.draining.max(self.leaving);
        (self.filled > 0.0 && self.draining > 0.0).then(|| self.arriving / served)
    }

    /// Brings the rates up to date after `elapsed` nanoseconds.
    fn settle(&mut self, elapsed: f64) {
        let gain = average(&mut self.filled, elapsed);
        let per_second = |units: u64| units as f64 / elapsed * SECOND;
        self.arriving += gain * (per_second(self.arrived_units) - self.arriving);
        self.leaving += gain * (per_second(self.dispatched_units) - self.leaving);
        if self.arrivals > 0 {
            let mean = (self.arrived_units as f64 / self.arrivals as f64).max(1.0);
            self.weight += gain * (mean - self.weight);
        }
        (self.arrivals, self.arrived_units, self.dispatched_units) = (0, 0, 0);
    }
}

/// The share of what was seen for `elapsed` nanoseconds in an average over [`MEMORY`] of which `filled` has been
/// seen: what has just begun is the mean of all there is.
fn average(filled: &mut f64, elapsed: f64) -> f64 {
    *filled = (*filled + elapsed / MEMORY).min(1.0);
    if *filled > 0.0 { ((1.0 - (-elapsed / MEMORY).exp()) / *filled).clamp(0.0, 1.0) } else { 0.0 }
}

/// The fewest places that lose at most [`LOSS`] of the throughput at this load.
fn places(load: f64, workers: f64) -> f64 {
    if load.is_nan() {
        return MOST;
    }
    // What is measured as nearly 1 may be 1.
    let load = load.clamp(0.01, 100.0);
    let load = load / UNSURE;
    if load <= 1.0 {
        return MOST; // rarely used, and when it is, for a burst or for a load that has just risen
    }
    if lost(load, workers, FEWEST) <= LOSS {
        return FEWEST;
    }
    let (mut low, mut high) = (FEWEST, MOST);
    // Twenty-five places, halved five times: nearer than one.
    for _ in 0..5 {
        let middle = (low + high) / 2.0;
        if lost(load, workers, middle) > LOSS { low = middle } else { high = middle }
    }
    high
}

/// The share of min(offered, capacity) that is lost before `workers` with `places`: blocking of M/M/c/K, from
/// Erlang's B in its normal approximation (Jagerman 1974).
fn lost(load: f64, workers: f64, places: f64) -> f64 {
    let offered = load * workers.max(1.0);
    let inverse = offered.sqrt() * mills((workers - offered) / offered.sqrt()) + 2.0 / 3.0;
    let (last, sum) = if (load - 1.0).abs() < 1e-3 {
        (1.0, places)
    } else {
        let last = load.powf(places);
        (last, load * (last - 1.0) / (load - 1.0))
    };
    let blocked = last / (inverse.max(1.0) + sum);
    if load <= 1.0 { blocked } else { 1.0 - load * (1.0 - blocked) }
}

/// Φ(x)/φ(x) of the standard normal distribution.
fn mills(x: f64) -> f64 {
    let x = x.clamp(-30.0, 30.0);
    let z = x.abs();
    // Φ(−z)/φ(z), by the continued fraction for large z and a rational fit otherwise (Abramowitz and Stegun
    // 26.2.17, relative error under 1e-4 here).
    let tail = if z > 3.0 {
        1.0 / (z + 1.0 / (z + 2.0 / (z + 3.0 / (z + 4.0))))
    } else {
        let t = 1.0 / (1.0 + 0.231_641_9 * z);
        t * (0.319_381_53
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))))
    };
    if x <= 0.0 {
        tail
    } else {
        let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if density > 0.0 { (1.0 - tail * density) / density } else { f64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A door after five seconds of `arriving` callers a second before an origin that takes `drain`.
    fn door(arriving: u64, drain: f64, limit: u64, searching: bool) -> Door {
        let mut door = Door::new();
        for tick in 1..=500u64 {
            for _ in 0..arriving / 100 {
                door.arrived(tick * 10 * MS, 1);
            }
            door.dispatched(tick * 10 * MS, (arriving / 100).min((drain / 100.0) as u64));
            door.tick(tick * 10 * MS, Some(drain), limit, searching);
        }
        door
    }

    #[test]
    fn the_approximation_agrees_with_the_exact_blocking() {
        for (load, workers, places) in
            [(1.0, 10.0, 30.0), (1.0, 400.0, 20.0), (0.9, 10.0, 8.0), (1.2, 10.0, 8.0), (2.0, 16.0, 8.0)]
        {
            let offered: f64 = load * workers;
            let erlang = (1..=workers as u32).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
            let sum: f64 = (1..=places as i32).map(|j| load.powi(j)).sum();
            let blocked = erlang * load.powf(places) / (1.0 + erlang * sum);
            let exact = if load <= 1.0 { blocked } else { 1.0 - load * (1.0 - blocked) };
            let near = lost(load, workers, places);
            assert!((near - exact).abs() < 0.005, "{load} {workers} {places}: {near} not {exact}");
        }
    }

    #[test]
    fn near_load_one_about_thirty_places_far_from_it_few() {
        let places = |door: Door, drain: f64| door.budget() as f64 / 1e9 * drain;
        let at = |load: f64| places(door((500.0 * load) as u64, 500.0, 12, false), 500.0);
        assert!(at(1.0) > 30.0 && at(1.0) <= 33.0, "{}", at(1.0));
        assert_eq!(at(0.4), at(1.0));
        assert!(at(5.0) <= 8.1, "{}", at(5.0));
        assert!(at(1.2) < at(1.0));
    }

    #[test]
    fn searching_keeps_the_door_wide() {
        assert!(door(5000, 500.0, 12, true).budget() > door(5000, 500.0, 12, false).budget());
    }

    /// The first rates are those of the slow start, which admits more than comes back: taken as the beginning of an
    /// average they kept the door of a crowd as wide for five seconds as load 1 has it.
    #[test]
    fn what_was_first_seen_weighs_no_more_than_the_rest() {
        let mut door = Door::new();
        for tick in 1..=100u64 {
            for _ in 0..10 {
                door.arrived(tick * 10 * MS, 1);
            }
            door.dispatched(tick * 10 * MS, 5);
            let drain = if tick <= 3 { 8000.0 } else { 500.0 };
            door.tick(tick * 10 * MS, Some(drain), 12, false);
        }
        let load = door.load().unwrap_or(0.0);
        assert!((1.2..=2.0).contains(&load), "{load}");
        assert!(door.budget() < 30 * MS, "{}", door.budget());
    }

    #[test]
    fn before_anything_is_known_everybody_may_wait() {
        let mut door = Door::new();
        assert_eq!(door.budget(), u64::MAX);
        door.tick(5, None, 16, true);
        assert_eq!(door.budget(), u64::MAX);
        for rate in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            door.tick(MS, Some(rate), 0, false);
            assert_eq!(door.budget(), u64::MAX);
        }
    }

    #[test]
    fn garbage_times_and_weights_do_no_harm() {
        let mut door = Door::new();
        for (now, weight, rate) in
            [(u64::MAX, u64::MAX, 1e-300), (0, 0, 1e300), (u64::MAX, u64::MAX, 1.0), (5, 1, 500.0)]
        {
            door.arrived(now, weight);
            door.dispatched(now, weight);
            door.tick(now, Some(rate), weight, false);
            assert!(door.budget() > 0);
        }
    }
}
