//! [`RetryBudget`]: how much a client may ask twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One retry.
const ONE: u64 = 1000;
/// 10 %: Beyer et al., "Site Reliability Engineering", ch. 21 ("Handling Overload"), the budget of a client.
const SHARE: f64 = 0.1;
/// Enough for a program that has just begun, or asks seldom.
const RESERVE: u32 = 10;

/// How many retries a client may send, as a share of its calls.
///
/// Each call puts its share in, each retry takes one out, and no more than the reserve is kept, which is full at the start.
/// So whatever happens, the attempts are at most (1 + share) × calls + reserve: a server that fails entirely gets a tenth
/// more, not three times as much. The rule is that of Finagle's and tower's budgets (a share of the calls, and a reserve),
/// without their clock. gRPC's (gRFC A6) looks at failures instead, and with the ratio of its examples stops retries where
/// there are fewer than ten successes to a failure: a service at twice its capacity is far below that, although the
/// moments that its gate gives are good.
///
/// Clones share it. **When empty**, the answer is handed over as it came. Before a gate that paces those who return, as
/// Tidegate's does, a share of 1 does no harm: it asked for them.
///
/// ```
/// use tidegate::tower::RetryBudget;
///
/// let budget = RetryBudget::new(0.2, 50);
/// assert_eq!(budget.left(), 50);
/// ```
#[derive(Clone, Debug)]
pub struct RetryBudget {
    left: Arc<AtomicU64>,
    deposit: u64,
    most: u64,
}

impl Default for RetryBudget {
    /// A tenth of the calls, and 10.
    fn default() -> Self {
        Self::new(SHARE, RESERVE)
    }
}

impl RetryBudget {
    /// Retries for a `share` of the calls (taken as 0 to 10, to the thousandth), and `reserve` more.
    #[must_use]
    pub fn new(share: f64, reserve: u32) -> Self {
        let deposit = (share.clamp(0.0, 10.0) * ONE as f64).round() as u64;
        // What a call puts in must find room.
        let most = (u64::from(reserve) * ONE).max(deposit);
        Self { left: Arc::new(AtomicU64::new(u64::from(reserve) * ONE)), deposit, most }
    }

    /// Retries that could be sent now.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Relaxed) / ONE
    }

    fn put(&self, amount: u64) {
        let put = |left: u64| Some(left.saturating_add(amount).min(self.most));
        let _ = self.left.fetch_update(Relaxed, Relaxed, put);
    }

    pub(super) fn deposit(&self) {
        self.put(self.deposit);
    }

    /// Takes one out, if there is one.
    pub(super) fn withdraw(&self) -> Option<Withdrawal> {
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(ONE)).ok()?;
        Some(Withdrawal { budget: self.clone(), spent: false })
    }
}

/// One retry that may still not come to pass; dropped unspent, it goes back.
#[derive(Debug)]
pub(super) struct Withdrawal {
    budget: RetryBudget,
    spent: bool,
}

impl Withdrawal {
    pub(super) fn spend(mut self) {
        self.spent = true;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if !self.spent {
            self.budget.put(ONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_stay_within_the_share_and_the_reserve() {
        let budget = RetryBudget::default();
        let mut retries = 0;
        for _ in 0..1000 {
            budget.deposit();
            while let Some(retry) = budget.withdraw() {
                retry.spend();
                retries += 1;
            }
        }
        assert_eq!(retries, 1000 / 10 + 9, "the first deposits find the reserve full");
        for _ in 0..10_000 {
            budget.deposit();
        }
        assert_eq!(budget.left(), u64::from(RESERVE));
    }

    #[test]
    fn what_was_not_spent_goes_back() {
        let budget = RetryBudget::new(0.0, 1);
        let one = budget.withdraw().unwrap();
        assert!(budget.withdraw().is_none());
        drop(one);
        budget.withdraw().unwrap().spend();
        assert!(budget.withdraw().is_none());
    }

    #[test]
    fn wild_shares_are_bounded() {
        for (share, left) in [(f64::NAN, 0), (-1.0, 0), (f64::INFINITY, 10), (0.5, 0)] {
            let budget = RetryBudget::new(share, 0);
            budget.deposit();
            assert_eq!(budget.left(), left, "{share}");
        }
    }
}
