//! Additive increase, multiplicative decrease: grows until something fails.

use super::{Bounds, Explanation, LimitAlgorithm};
use crate::sample::{Outcome, Sample};

/// What a limit is multiplied by after an overload (Netflix concurrency-limits `AIMDLimit`: 0.9).
const BACKOFF: f64 = 0.9;

/// Additive increase, multiplicative decrease (Chiu and Jain 1989).
///
/// Adds one unit for every limit's worth of successes while at least half of the limit is in use, and cuts
/// by a tenth when work ends in overload or later than the timeout. It needs failures to learn from: prefer
/// it only where the worker refuses truthfully.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    bounds: Bounds,
    estimate: f64,
    timeout: Option<u64>,
    cut_at: u64,
}

impl Aimd {
    /// An algorithm inside `bounds`. Work that takes longer than `timeout` nanoseconds counts as overload;
    /// `None` looks at outcomes alone.
    #[must_use]
    pub fn new(bounds: Bounds, timeout: Option<u64>) -> Self {
        Self { bounds, estimate: bounds.clamp(bounds.start as f64), timeout, cut_at: 0 }
    }
}

impl Default for Aimd {
    fn default() -> Self {
        Self::new(Bounds::default(), None)
    }
}

impl LimitAlgorithm for Aimd {
    fn limit(&self) -> u64 {
        self.bounds.whole(self.estimate)
    }

    fn on_sample(&mut self, sample: &Sample) -> u64 {
        let late = self.timeout.is_some_and(|timeout| sample.elapsed > timeout);
        let admitted = sample.at.now.saturating_sub(sample.elapsed);
        let overload = match sample.outcome {
            Outcome::Overload => true,
            Outcome::Success | Outcome::Canceled => late,
            Outcome::Ignore => return self.limit(),
        };
        if overload {
            // Work that was admitted before the last cut says nothing about the limit after it.
            if admitted >= self.cut_at {
                self.estimate = self.bounds.clamp(self.estimate * BACKOFF);
                self.cut_at = sample.at.now;
            }
        } else if sample.outcome == Outcome::Success && sample.at.in_flight.saturating_mul(2) >= self.limit()
        {
            self.estimate = self.bounds.clamp(self.estimate + 1.0 / self.estimate);
        }
        self.limit()
    }

    fn explain(&self) -> Explanation {
        Explanation {
            algorithm: "aimd",
            phase: "steady",
            limit: self.limit(),
            estimate: self.estimate,
            ..Explanation::default()
        }
    }
}
