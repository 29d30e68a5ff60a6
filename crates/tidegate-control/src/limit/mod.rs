//! How much at once? A [`LimitAlgorithm`] computes the limit that a limiter enforces.

mod aimd;
mod bounds;
mod fixed;
mod gradient2;
mod knee;
mod vegas;

pub use aimd::Aimd;
pub use bounds::Bounds;
pub use fixed::Fixed;
pub use gradient2::Gradient2;
pub use knee::Knee;
pub use vegas::Vegas;

use crate::sample::{Sample, View};

/// Computes a concurrency limit from what a limiter observes. Pure: time comes with the events.
pub trait LimitAlgorithm: Send + 'static {
    /// The limit now, at least 1.
    fn limit(&self) -> u64;

    /// A permit came back. Returns the limit from now on.
    fn on_sample(&mut self, sample: &Sample) -> u64;

    /// A caller could not be admitted at once: it waits (`at.waiting` counts it) or was refused. Returns the
    /// limit from now on.
    fn on_pressure(&mut self, at: &View) -> u64 {
        let _ = at;
        self.limit()
    }

    /// Time went by; called every 10 ms or so while work is in flight or waiting, so that a phase can end
    /// although nothing completes. Returns the limit from now on.
    fn on_tick(&mut self, at: &View) -> u64 {
        let _ = at;
        self.limit()
    }

    /// Is the algorithm looking for the knee, so that the queue should hold callers rather than refuse them?
    fn is_searching(&self) -> bool {
        false
    }

    /// Why the limit is where it is.
    fn explain(&self) -> Explanation {
        Explanation { algorithm: "custom", phase: "none", limit: self.limit(), ..Explanation::default() }
    }
}

/// Why a limit is where it is: the words and figures `/status` shows.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// What it is doing: `idle`, `start`, `base`, `up`, `down`, `high`, `low`, `fixed`, …; `alone` if it shares an
    /// origin with others whose clocks do not agree with its own.
    pub phase: &'static str,
    /// The limit in force.
    pub limit: u64,
    /// The operating estimate behind the limit (the limit itself moves around it while probing).
    pub estimate: f64,
    /// The last elasticity d ln throughput / d ln limit that was measured: 1 = more would be done with more,
    /// 0 = saturated, negative = collapse.
    pub elasticity: Option<f64>,
    /// Completions per second while the limit was binding, as last measured.
    pub throughput: Option<f64>,
    /// Mean service time in nanoseconds.
    pub service: Option<u64>,
    /// Estimated from traffic alone, without moving the limit (dry run).
    pub passive: bool,
    /// The highest limit there may be is what keeps it from being higher.
    pub at_ceiling: bool,
}
