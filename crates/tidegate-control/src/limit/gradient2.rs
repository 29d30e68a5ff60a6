//! The ratio of long-term to present latency decides whether the limit grows.

use super::{Bounds, Explanation, LimitAlgorithm};
use crate::sample::{Outcome, Sample};

/// Latency may exceed its long-term mean by this factor before the limit shrinks.
const TOLERANCE: f64 = 1.5;
/// Samples in the long-term mean.
const LONG_WINDOW: f64 = 600.0;
/// How much of each new limit is taken over.
const SMOOTHING: f64 = 0.2;
/// Units of standing queue that are let in, so that growth can be seen.
const QUEUE: f64 = 4.0;

/// `Gradient2Limit` of Netflix concurrency-limits, with its constants.
///
/// `limit ← limit · clamp(1.5 · long / now, 0.5, 1) + 4`, smoothed. Follows slow changes and has no minimum
/// to poison; under a lasting overload the long-term mean drifts upward with the latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient2 {
    bounds: Bounds,
    estimate: f64,
    long: Option<f64>,
    samples: f64,
}

impl Gradient2 {
    /// An algorithm inside `bounds`.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, estimate: bounds.clamp(bounds.start as f64), long: None, samples: 0.0 }
    }
}

impl Default for Gradient2 {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl LimitAlgorithm for Gradient2 {
    fn limit(&self) -> u64 {
        self.bounds.whole(self.estimate)
    }

    fn on_sample(&mut self, sample: &Sample) -> u64 {
        if sample.outcome == Outcome::Overload {
            self.estimate = self.bounds.clamp(self.estimate * 0.9);
            return self.limit();
        }
        if sample.outcome != Outcome::Success || sample.elapsed == 0 {
            return self.limit();
        }
        let now = sample.elapsed as f64;
        self.samples = (self.samples + 1.0).min(LONG_WINDOW);
        let mut long = self.long.map_or(now, |long| long + (now - long) / self.samples);
        // After a spell of overload the mean is far above: come back faster than the window.
        if long > 2.0 * now {
            long *= 0.95;
        }
        self.long = Some(long);
        if sample.at.in_flight.saturating_mul(2) >= self.limit() {
            let gradient = (TOLERANCE * long / now).clamp(0.5, 1.0);
            let next = self.estimate * gradient + QUEUE;
            self.estimate = self.bounds.clamp(self.estimate * (1.0 - SMOOTHING) + next * SMOOTHING);
        }
        self.limit()
    }

    fn explain(&self) -> Explanation {
        Explanation {
            algorithm: "gradient2",
            phase: "steady",
            limit: self.limit(),
            estimate: self.estimate,
            service: self.long.map(|long| long as u64),
            ..Explanation::default()
        }
    }
}
