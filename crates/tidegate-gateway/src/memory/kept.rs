//! [`Kept`]: bytes set aside at the begin for one purpose, whatever the others hold.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate::budget::Lease;

/// Bytes that were leased once and for all. What is taken of them comes back to them, not to the budget.
#[derive(Debug)]
pub(super) struct Kept(Mutex<Option<Lease>>);

impl Kept {
    pub(super) fn new(lease: Option<Lease>) -> Self {
        Self(Mutex::new(lease))
    }

    /// So many of them, if there are as many left.
    pub(super) fn take(&self, bytes: u64) -> Option<Lease> {
        self.lease().as_mut()?.split(bytes)
    }

    /// What was taken comes back.
    pub(super) fn put(&self, bytes: Lease) {
        if let Some(kept) = self.lease().as_mut() {
            // They come from the same budget.
            let _ = kept.merge(bytes);
        }
    }

    /// Those that nobody has taken.
    pub(super) fn left(&self) -> u64 {
        self.lease().as_ref().map_or(0, Lease::bytes)
    }

    // Nothing that can panic is done under this lock, and no lease ends under it.
    fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
