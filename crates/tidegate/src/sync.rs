//! The lock and the atomic word that the limiter's races run through: loom's under `cfg(tidegate_loom)`, so
//! that every interleaving of them can be explored. Reference counts and plain counters stay `std`'s.

#[cfg(tidegate_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(not(tidegate_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};

use std::sync::PoisonError;

/// Locks, also after a panic elsewhere: every critical section leaves its data usable at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
