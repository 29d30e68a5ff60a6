//! Throughput: how much comes or goes per second, idle time and all.

/// A weighted mean over time whose weights fall to 1/e in this time: a sudden change shows in seconds, and single large
/// ones do not make it jump.
const MEMORY_NANOS: f64 = 5e9;
/// Shorter stretches are put together before they count: an exponential for each event would cost more than the event.
const STRETCH_NANOS: u64 = 100_000_000;
const SECOND: f64 = 1e9;

/// An exponentially weighted mean, over time, of what was counted.
///
/// ```
/// use tidegate_control::wait::Throughput;
///
/// let mut throughput = Throughput::starting(0);
/// for second in 1..=60 {
///     throughput.count(1000);
///     throughput.advance(second * 1_000_000_000);
/// }
/// assert!((throughput.rate() - 1000.0).abs() < 1.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Throughput {
    counted: u64,
    since: u64,
    rate: Option<f64>,
}

impl Throughput {
    /// Counts from `now` on.
    #[must_use]
    pub const fn starting(now: u64) -> Self {
        Self { counted: 0, since: now, rate: None }
    }

    /// So many came, or went.
    pub fn count(&mut self, units: u64) {
        self.counted = self.counted.saturating_add(units);
    }

    /// What was counted up to `now` enters the mean, if that is long enough. True if it did.
    pub fn advance(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.since);
        if elapsed < STRETCH_NANOS {
            return false;
        }
        *self = Self { counted: 0, since: now, rate: Some(self.mean(elapsed)) };
        true
    }

    fn mean(&self, elapsed: u64) -> f64 {
        let newest = self.counted as f64 * SECOND / elapsed as f64;
        let Some(rate) = self.rate else { return newest };
        rate + (newest - rate) * (1.0 - (-(elapsed as f64) / MEMORY_NANOS).exp())
    }

    /// Units per second, as last [advanced](Self::advance); 0 before that.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_step_is_followed_within_its_memory() {
        let mut throughput = Throughput::starting(0);
        let mut now = 0;
        for _ in 0..200 {
            now += 100 * MS;
            throughput.count(10);
            assert!(throughput.advance(now));
        }
        assert!((throughput.rate() - 100.0).abs() < 1e-6);
        for _ in 0..50 {
            now += 100 * MS;
            throughput.count(20);
            throughput.advance(now);
        }
        let risen = throughput.rate();
        assert!((risen - (200.0 - 100.0 / std::f64::consts::E)).abs() < 1.0, "{risen}");
    }

    #[test]
    fn short_stretches_are_put_together_and_silence_counts() {
        let mut throughput = Throughput::starting(0);
        throughput.count(5);
        assert!(!throughput.advance(50 * MS));
        throughput.count(5);
        assert!(throughput.advance(100 * MS));
        assert_eq!(throughput.rate(), 100.0);
        throughput.advance(60_000 * MS);
        assert!(throughput.rate() < 0.01);
    }
}
