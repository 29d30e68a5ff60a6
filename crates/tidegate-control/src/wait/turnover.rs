//! The pace that follows from how long work takes, for as long as none was measured.

/// Share of the newest in the mean once there were many: the last fifty carry two thirds of it.
const SMOOTHING: f64 = 0.02;
const SECOND: f64 = 1e9;

/// Units a second that come back while so many are held: their number over the time that each is held (Little's law).
///
/// What had begun before anything came to its end does not count. If the service stood still, all that was there shows
/// once how long that lasted, and nothing of how long work takes.
///
/// ```
/// use tidegate_control::wait::Turnover;
///
/// let mut turnover = Turnover::default();
/// turnover.served(0, 60_000_000_000);
/// turnover.served(1_000_000, 60_001_000_000);
/// assert_eq!(turnover.rate(10), None); // both were there during the same stall
/// turnover.served(60_000_000_000, 60_020_000_000);
/// assert_eq!(turnover.rate(10), Some(500.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Turnover {
    first_end: Option<u64>,
    /// Nanoseconds.
    held: f64,
    seen: u64,
}

impl Turnover {
    /// Work came to its end at `ended` that had begun at `began`, in nanoseconds of one clock.
    pub fn served(&mut self, began: u64, ended: u64) {
        if began < *self.first_end.get_or_insert(ended) {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        let share = SMOOTHING.max(1.0 / self.seen as f64);
        self.held += share * (ended.saturating_sub(began) as f64 - self.held);
    }

    /// Units a second while `held` of them are; `None` while nothing is known.
    #[must_use]
    pub fn rate(&self, held: u64) -> Option<f64> {
        (self.seen > 0).then(|| held as f64 * SECOND / self.held.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_stall_that_all_were_in_says_nothing() {
        let mut turnover = Turnover::default();
        for work in 0..100 {
            turnover.served(work, 60_000 * MS + work);
        }
        assert_eq!(turnover.rate(20), None);
        turnover.served(60_000 * MS, 60_010 * MS);
        assert_eq!(turnover.rate(20), Some(2000.0));
    }

    #[test]
    fn the_mean_is_of_all_at_first_and_of_the_last_ones_later() {
        let mut turnover = Turnover::default();
        turnover.served(0, MS);
        turnover.served(MS, 11 * MS);
        turnover.served(MS, 31 * MS);
        assert_eq!(turnover.rate(2), Some(100.0));
        for _ in 0..400 {
            turnover.served(MS, 101 * MS);
        }
        let rate = turnover.rate(10).unwrap();
        assert!((rate - 100.0).abs() < 1.0, "{rate}");
    }

    #[test]
    fn garbage_times_do_no_harm() {
        let mut turnover = Turnover::default();
        for (began, ended) in [(5, 3), (u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            turnover.served(began, ended);
            assert!(turnover.rate(u64::MAX).is_none_or(|rate| rate.is_finite() && rate > 0.0));
        }
        assert_eq!(turnover.rate(0), Some(0.0));
    }
}
