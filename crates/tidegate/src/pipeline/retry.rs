//! [`Retry`]: how often a failed item is tried again, and after which pauses.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One retry, in the unit in which shares are put in.
const ONE: u64 = 1000;

/// How a stage tries again.
///
/// Each item that succeeds puts a share of a retry into the stage's budget, each retry takes one out; when that is
/// empty, an item that fails is not tried again. So a stage whose work always fails asks whoever is behind it hardly
/// more often than one whose work never does. Pauses are at random up to `first`, then up to twice that, and so on up
/// to `most` (exponential back-off with full jitter).
///
/// ```
/// use std::time::Duration;
/// use tidegate::pipeline::Retry;
///
/// let retry = Retry::default();
/// assert_eq!((retry.attempts, retry.first), (3, Duration::from_millis(100)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts for one item, the first among them; 3 by default.
    pub attempts: u32,
    /// The longest first pause; 100 ms by default.
    pub first: Duration,
    /// The longest pause; 5 s by default.
    pub most: Duration,
    /// Retries for each item that succeeds (0 to 10); a tenth by default.
    pub share: f64,
    /// Retries beside that, at the start and at most; 10 by default.
    pub reserve: u32,
}

impl Default for Retry {
    /// What [`RetryLayer`](https://docs.rs/tidegate/latest/tidegate/tower/struct.RetryLayer.html) has: 3 attempts, a
    /// tenth of the items and 10 (SRE book, ch. 21), pauses from 100 ms to 5 s.
    fn default() -> Self {
        Self {
            attempts: 3,
            first: Duration::from_millis(100),
            most: Duration::from_secs(5),
            share: 0.1,
            reserve: 10,
        }
    }
}

impl Retry {
    /// So many attempts for one item, the first among them.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// Pauses at random up to `first`, then up to twice that, up to `most`.
    #[must_use]
    pub fn pauses(self, first: Duration, most: Duration) -> Self {
        Self { first, most, ..self }
    }

    /// `share` of a retry for each item that succeeds, and `reserve` beside.
    #[must_use]
    pub fn budget(self, share: f64, reserve: u32) -> Self {
        Self { share, reserve, ..self }
    }

    /// The longest pause after so many failed attempts.
    fn longest_pause(&self, failed: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failed.saturating_sub(1)).filter(|factor| *factor > 0);
        self.first.saturating_mul(doubled.unwrap_or(u32::MAX)).min(self.most)
    }
}

/// A stage's retries.
#[derive(Debug)]
pub(super) struct Retries {
    plan: Retry,
    left: AtomicU64,
    deposit: u64,
    seeds: RandomState,
    drawn: AtomicU64,
}

impl Retries {
    pub(super) fn new(plan: Retry) -> Self {
        let deposit = (plan.share.clamp(0.0, 10.0) * ONE as f64).round() as u64;
        let left = AtomicU64::new(u64::from(plan.reserve) * ONE);
        Self { plan, left, deposit, seeds: RandomState::new(), drawn: AtomicU64::new(0) }
    }

    /// An item succeeded.
    pub(super) fn deposit(&self) {
        let most = (u64::from(self.plan.reserve) * ONE).max(self.deposit);
        let put = |left: u64| Some(left.saturating_add(self.deposit).min(most));
        let _ = self.left.fetch_update(Relaxed, Relaxed, put);
    }

    /// After so many failed attempts (at least 1): the pause before the next, or `None` if there is none.
    pub(super) fn withdraw(&self, failed: u32) -> Option<Duration> {
        if failed >= self.plan.attempts {
            return None;
        }
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(ONE)).ok()?;
        let random = self.seeds.hash_one(self.drawn.fetch_add(1, Relaxed));
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        Some(self.plan.longest_pause(failed).mul_f64(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_within_the_share_and_the_reserve() {
        let retries = Retries::new(Retry::default());
        assert_eq!((0..20).filter(|_| retries.withdraw(1).is_some()).count(), 10);
        (0..50).for_each(|_| retries.deposit());
        assert_eq!((0..20).filter(|_| retries.withdraw(2).is_some()).count(), 5);
        (0..1000).for_each(|_| retries.deposit());
        assert!(retries.withdraw(3).is_none(), "three attempts are all");
        assert_eq!((0..20).filter(|_| retries.withdraw(1).is_some()).count(), 10);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = Retry::default();
        let pauses = [1, 2, 6, 7, 40, u32::MAX].map(|failed| retry.longest_pause(failed).as_millis());
        assert_eq!(pauses, [100, 200, 3200, 5000, 5000, 5000]);
    }
}
