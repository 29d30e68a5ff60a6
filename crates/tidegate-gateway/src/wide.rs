//! [`Wide`]: how much the kernel may hold unsent of a connection, and the memory for more than every connection has.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate::budget::Lease;

/// The mark of unsent bytes of one connection. More than at its begin is charged for as long as it is allowed.
#[derive(Debug)]
pub(crate) struct Wide {
    first: u32,
    mark: AtomicU32,
    lease: Mutex<Option<Lease>>,
}

impl Wide {
    pub(crate) fn new(first: u32) -> Self {
        Self { first, mark: AtomicU32::new(first), lease: Mutex::new(None) }
    }

    /// The mark of this moment.
    pub(crate) fn mark(&self) -> u32 {
        self.mark.load(Relaxed)
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.lease().is_some()
    }

    /// From now on with this mark, which `lease` pays for.
    pub(crate) fn widen(&self, mark: u32, lease: Lease) {
        let before = self.lease().replace(lease);
        self.mark.store(mark.max(self.first), Relaxed);
        drop(before);
    }

    /// From now on as at the begin. `is_down` says whether no more than that is held; until then it stays charged.
    pub(crate) fn narrow(&self, is_down: impl FnOnce(u32) -> bool) {
        self.mark.store(self.first, Relaxed);
        if is_down(self.first) {
            let before = self.lease().take();
            drop(before);
        }
    }

    // Nothing that can panic is done under this lock, and no lease ends under it.
    fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tidegate::budget::Budget;

    use super::*;

    #[test]
    fn more_is_charged_until_it_is_not_held_any_more() {
        let budget = Budget::root("test", 100).build();
        let wide = Wide::new(16);
        wide.widen(64, budget.try_lease(60).unwrap());
        assert_eq!((wide.mark(), wide.is_wide(), budget.used()), (64, true, 60));
        wide.narrow(|first| first > 16);
        assert_eq!((wide.mark(), wide.is_wide(), budget.used()), (16, true, 60));
        // Somebody widens it once more: what it had before comes back.
        wide.widen(64, budget.try_lease(30).unwrap());
        assert_eq!((wide.mark(), budget.used()), (64, 30));
        wide.narrow(|first| first == 16);
        assert_eq!((wide.mark(), wide.is_wide(), budget.used()), (16, false, 0));
    }
}
