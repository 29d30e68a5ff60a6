//! TCP Vegas on concurrency: holds a small standing queue above the best latency seen.

use super::{Bounds, Explanation, LimitAlgorithm};
use crate::sample::{Outcome, Sample};

/// The baseline is measured anew after this many limits' worth of samples, because the best latency of a
/// changed service is never seen again otherwise (Netflix concurrency-limits `VegasLimit`: 30).
const PROBE_EVERY: f64 = 30.0;

/// TCP Vegas (Brakmo and Peterson 1995) as Netflix concurrency-limits applies it.
///
/// Estimates the queue inside the worker as `limit · (1 − best / latency)` and keeps it between α = 3·log₁₀ and
/// β = 6·log₁₀ of the limit. Its baseline can be poisoned by a latency that was never typical.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vegas {
    bounds: Bounds,
    estimate: f64,
    best: Option<u64>,
    samples: f64,
}

impl Vegas {
    /// An algorithm inside `bounds`.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, estimate: bounds.clamp(bounds.start as f64), best: None, samples: 0.0 }
    }
}

impl Default for Vegas {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl LimitAlgorithm for Vegas {
    fn limit(&self) -> u64 {
        self.bounds.whole(self.estimate)
    }

    fn on_sample(&mut self, sample: &Sample) -> u64 {
        let log = self.estimate.log10().max(1.0);
        if sample.outcome == Outcome::Overload {
            self.estimate = self.bounds.clamp(self.estimate - log);
            return self.limit();
        }
        if sample.outcome != Outcome::Success || sample.elapsed == 0 {
            return self.limit();
        }
        self.samples += 1.0;
        if self.samples > PROBE_EVERY * self.estimate {
            self.samples = 0.0;
            self.best = None;
        }
        let best = self.best.map_or(sample.elapsed, |best| best.min(sample.elapsed));
        self.best = Some(best);
        // A limit that is not in use says nothing about a higher one.
        if sample.at.in_flight.saturating_mul(2) < self.limit() {
            return self.limit();
        }
        let standing = (self.estimate * (1.0 - best as f64 / sample.elapsed as f64)).ceil();
        let change = if standing <= log {
            6.0 * log
        } else if standing < 3.0 * log {
            log
        } else if standing > 6.0 * log {
            -log
        } else {
            0.0
        };
        self.estimate = self.bounds.clamp(self.estimate + change);
        self.limit()
    }

    fn explain(&self) -> Explanation {
        Explanation {
            algorithm: "vegas",
            phase: "steady",
            limit: self.limit(),
            estimate: self.estimate,
            service: self.best,
            ..Explanation::default()
        }
    }
}
