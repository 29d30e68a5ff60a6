//! What is simulated.

use std::ops::RangeInclusive;

use super::chance::Work;

/// A value that changes at moments (seconds).
pub(super) type Steps = &'static [(f64, f64)];

/// The value of `steps` at a moment.
pub(super) fn at(steps: Steps, seconds: f64) -> f64 {
    steps.iter().rev().find(|(from, _)| seconds >= *from).or(steps.first()).map_or(0.0, |(_, value)| *value)
}

/// One scenario and what is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// The mean goodput over all seeds shall not be less.
    pub(super) least: f64,
    /// The mean 99th percentile of the latency, in milliseconds, shall not be more.
    pub(super) slowest: f64,
    /// The origin's workers.
    pub(super) workers: Steps,
    pub(super) work: Work,
    /// What each request that is there beside it adds to the work of one, as a share.
    pub(super) contention: f64,
    /// Seconds on the way to the origin and back, ± 10 %.
    pub(super) delay: Steps,
    /// Arrivals as a multiple of the capacity at the begin.
    pub(super) load: Steps,
    pub(super) gates: usize,
    /// How far the gates' clocks are apart at most, ± seconds.
    pub(super) skew: f64,
    /// The origin says how much it has in flight.
    pub(super) reports: bool,
    /// The clients' patience, seconds.
    pub(super) timeout: f64,
    /// A share of the clients has less: so many leave after so many seconds, and their work is nobody's.
    pub(super) leave: (f64, f64),
    /// The origin's time that goes into work begun for clients that had left, as a share, shall not be more.
    pub(super) wasted: f64,
    /// So many clients that send their next request when they have their answer, in place of `load`.
    pub(super) closed: usize,
    /// The share of requests that wait in the gate's queue shall not be more.
    pub(super) queued: f64,
    /// The share of time in which a gate may, or must, say that the others do not keep the beat.
    pub(super) alone: RangeInclusive<f64>,
    /// What counts (seconds); the run ends with it.
    pub(super) window: (f64, f64),
}

impl Scenario {
    /// Requests a second that the origin can do.
    pub(super) fn capacity(&self, seconds: f64) -> f64 {
        at(self.workers, seconds) / self.work.mean()
    }

    /// Requests a second that come.
    pub(super) fn offered(&self, seconds: f64) -> f64 {
        if self.closed > 0 { f64::INFINITY } else { at(self.load, seconds) * self.capacity(0.0) }
    }
}

const STEP: Scenario = Scenario {
    name: "",
    least: 0.94,
    slowest: f64::INFINITY,
    workers: &[(0.0, 10.0)],
    work: Work::Exponential(0.020),
    contention: 0.0,
    delay: &[(0.0, 0.001)],
    load: &[(0.0, 0.5)],
    gates: 1,
    skew: 0.0,
    reports: false,
    timeout: 1.0,
    leave: (0.0, 0.0),
    wasted: 1.0,
    closed: 0,
    queued: f64::INFINITY,
    alone: 0.0..=0.05,
    window: (10.0, 40.0),
};

/// Far more than the start at once, and nothing known.
const COLD: Scenario =
    Scenario { workers: &[(0.0, 200.0)], work: Work::Exponential(0.100), load: &[(0.0, 1.3)], ..STEP };

/// The crowd is there before anything is known, as `scripts/bench overload` has it.
const CROWD: Scenario = Scenario { slowest: 150.0, window: (0.0, 20.0), ..STEP };

/// Two busy cores and a millisecond on the way: what 64 clients in a loop have there is answered in 4 ms.
const FAST: Scenario =
    Scenario { workers: &[(0.0, 2.0)], work: Work::Exponential(0.000_125), window: (3.0, 7.0), ..STEP };

/// All of them.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario { name: "step 1x", load: &[(0.0, 0.5), (10.0, 1.0)], slowest: 160.0, ..STEP },
        Scenario { name: "step 2x", load: &[(0.0, 0.5), (10.0, 2.0)], slowest: 150.0, ..STEP },
        Scenario { name: "step 5x", load: &[(0.0, 0.5), (10.0, 5.0)], slowest: 150.0, ..STEP },
        Scenario {
            name: "step 10x",
            load: &[(0.0, 0.5), (10.0, 10.0)],
            slowest: 160.0,
            window: (10.0, 30.0),
            ..STEP
        },
        Scenario { name: "crowd 1x from cold", load: &[(0.0, 1.0)], ..CROWD },
        Scenario { name: "crowd 2x from cold", load: &[(0.0, 2.0)], ..CROWD },
        Scenario { name: "crowd 5x from cold", load: &[(0.0, 5.0)], ..CROWD },
        Scenario { name: "crowd 10x from cold", load: &[(0.0, 10.0)], ..CROWD },
        Scenario {
            name: "crowd 2x from cold, 30 % leave",
            load: &[(0.0, 2.0)],
            // Nobody can call back what the origin works on when its client leaves.
            least: 0.85,
            leave: (0.3, 0.060),
            wasted: 0.01,
            ..CROWD
        },
        Scenario {
            name: "cold start, knee 400",
            workers: &[(0.0, 400.0)],
            work: Work::Lognormal(0.050),
            load: &[(0.0, 1.3)],
            window: (1.0, 21.0),
            ..STEP
        },
        Scenario { name: "cold start, knee 200, first 5 s", least: 0.85, window: (0.0, 5.0), ..COLD },
        Scenario { name: "cold start, knee 200, from 5 s on", least: 0.97, window: (5.0, 25.0), ..COLD },
        Scenario {
            name: "light traffic, then knee 200, first 5 s",
            least: 0.85,
            load: &[(0.0, 0.02), (10.0, 1.3)],
            window: (10.0, 15.0),
            ..COLD
        },
        Scenario {
            name: "cold start, in waves, first 5 s",
            least: 0.85,
            work: Work::Constant(0.100),
            window: (0.0, 5.0),
            ..COLD
        },
        Scenario {
            name: "crowd 2x, after three hiccups",
            workers: &[
                (0.0, 10.0),
                (8.0, 3.0),
                (8.4, 10.0),
                (12.0, 3.0),
                (12.4, 10.0),
                (16.0, 3.0),
                (16.4, 10.0),
            ],
            load: &[(0.0, 2.0)],
            window: (17.0, 37.0),
            ..CROWD
        },
        Scenario {
            // The line that came meanwhile is worked off first.
            name: "nothing for 3 s, then 1x",
            least: 0.80,
            workers: &[(0.0, 10.0), (0.001, 0.0), (3.0, 10.0)],
            load: &[(0.0, 1.0)],
            window: (3.0, 5.0),
            ..STEP
        },
        Scenario {
            name: "crowd 2x, a stall of 3 s, 2 s after",
            least: 0.85,
            workers: &[(0.0, 10.0), (3.0, 0.0), (6.0, 10.0)],
            load: &[(0.0, 2.0)],
            window: (6.0, 8.0),
            ..STEP
        },
        Scenario {
            name: "capacity halves",
            workers: &[(0.0, 16.0), (10.0, 8.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 0.9)],
            window: (11.0, 35.0),
            ..STEP
        },
        Scenario {
            name: "capacity quarters and comes back",
            workers: &[(0.0, 16.0), (10.0, 4.0), (25.0, 16.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 1.5)],
            window: (26.0, 46.0),
            ..STEP
        },
        Scenario {
            name: "slow dependency, 1 to 100 ms",
            workers: &[(0.0, 16.0)],
            work: Work::Lognormal(0.010),
            delay: &[(0.0, 0.001), (10.0, 0.100)],
            load: &[(0.0, 0.8)],
            window: (10.0, 40.0),
            ..STEP
        },
        Scenario {
            name: "bimodal, 2 and 200 ms",
            workers: &[(0.0, 16.0)],
            work: Work::Bimodal { share: 0.05, fast: 0.002, slow: 0.200 },
            load: &[(0.0, 0.5), (10.0, 2.0)],
            timeout: 2.0,
            window: (15.0, 45.0),
            ..STEP
        },
        Scenario {
            name: "low rate, 20 a second",
            least: 0.90,
            workers: &[(0.0, 2.0)],
            work: Work::Exponential(0.100),
            load: &[(0.0, 0.5), (20.0, 2.0)],
            timeout: 2.0,
            window: (30.0, 120.0),
            ..STEP
        },
        Scenario {
            name: "four slow workers from cold, 2x",
            workers: &[(0.0, 4.0)],
            work: Work::Exponential(0.100),
            load: &[(0.0, 2.0)],
            timeout: 2.0,
            ..STEP
        },
        Scenario {
            name: "four slow workers, 1x",
            least: 0.90,
            workers: &[(0.0, 4.0)],
            work: Work::Exponential(0.100),
            load: &[(0.0, 1.0)],
            ..STEP
        },
        Scenario { name: "load 0.7", load: &[(0.0, 0.7)], window: (5.0, 45.0), ..STEP },
        Scenario { name: "load 0.9", load: &[(0.0, 0.9)], window: (5.0, 45.0), ..STEP },
        Scenario {
            name: "sustained 1.3x",
            slowest: 150.0,
            load: &[(0.0, 1.3)],
            window: (60.0, 120.0),
            ..STEP
        },
        Scenario {
            name: "4 gates",
            workers: &[(0.0, 64.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 0.5), (10.0, 2.0)],
            gates: 4,
            window: (20.0, 40.0),
            ..STEP
        },
        Scenario {
            name: "4 gates, slow dependency, 1 to 100 ms",
            // A verdict takes two phases of the common clock, half a second each, and several must agree.
            least: 0.70,
            workers: &[(0.0, 64.0)],
            work: Work::Lognormal(0.010),
            delay: &[(0.0, 0.001), (10.0, 0.100)],
            load: &[(0.0, 0.8)],
            gates: 4,
            window: (10.0, 40.0),
            ..STEP
        },
        Scenario {
            name: "4 gates, slow dependency, 2x",
            least: 0.85,
            workers: &[(0.0, 64.0)],
            work: Work::Lognormal(0.010),
            delay: &[(0.0, 0.001), (10.0, 0.100)],
            load: &[(0.0, 2.0)],
            gates: 4,
            window: (12.0, 42.0),
            ..STEP
        },
        Scenario {
            name: "4 gates, capacity halves",
            workers: &[(0.0, 64.0), (10.0, 32.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 0.9)],
            gates: 4,
            window: (12.0, 42.0),
            ..STEP
        },
        Scenario {
            name: "16 gates",
            least: 0.95,
            workers: &[(0.0, 64.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 0.5), (10.0, 2.0)],
            gates: 16,
            window: (20.0, 40.0),
            ..STEP
        },
        Scenario {
            // Not what the docs ask for: nothing may break all the same.
            name: "16 gates, no clock",
            slowest: 600.0,
            alone: 0.25..=1.0,
            workers: &[(0.0, 64.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 0.5), (10.0, 2.0)],
            gates: 16,
            skew: 1.0,
            window: (20.0, 40.0),
            ..STEP
        },
        Scenario {
            name: "16 gates, no clock, reports",
            slowest: 150.0,
            alone: 0.6..=1.0,
            workers: &[(0.0, 64.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 0.5), (10.0, 2.0)],
            gates: 16,
            skew: 1.0,
            reports: true,
            window: (20.0, 40.0),
            ..STEP
        },
        Scenario {
            name: "16 gates, reports",
            alone: 0.0..=0.2,
            workers: &[(0.0, 64.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 0.5), (10.0, 2.0)],
            gates: 16,
            reports: true,
            window: (20.0, 40.0),
            ..STEP
        },
        Scenario {
            name: "16 gates, clocks 20 ms apart",
            workers: &[(0.0, 64.0)],
            work: Work::Lognormal(0.010),
            load: &[(0.0, 0.5), (10.0, 2.0)],
            gates: 16,
            skew: 0.020,
            window: (20.0, 40.0),
            ..STEP
        },
        Scenario { name: "fast origin, 64 clients in a loop", closed: 64, queued: 0.02, ..FAST },
        Scenario {
            name: "fast origin, 64 in a loop, hiccup",
            workers: &[(0.0, 2.0), (2.0, 0.0), (2.3, 2.0)],
            closed: 64,
            queued: 0.10,
            ..FAST
        },
        Scenario { name: "fast origin, 2x", load: &[(0.0, 2.0)], slowest: 30.0, ..FAST },
        Scenario {
            name: "fast origin that crowds itself out",
            least: 0.85,
            contention: 0.01,
            closed: 64,
            ..FAST
        },
    ]
}
