//! The word of free units.
//!
//! One signed word says how many units are free. Below zero is a debt (the limit was lowered while more was
//! held). While callers wait, or while draining, the word is *closed*: a bias pushes it far below zero, so
//! that the fast path fails with the comparison it makes anyway and nobody can pass the queue.

use std::sync::atomic::{AtomicI64, Ordering};

/// Largest limit and largest weight: 2⁴⁰ units, so that no sum of them reaches the bias.
pub(crate) const MAX_UNITS: u64 = 1 << 40;
const BIAS: i64 = 1 << 61;
const CLOSED_BELOW: i64 = -(1 << 60);

/// Free units, with the closed bias.
#[derive(Debug)]
pub(crate) struct Free(AtomicI64);

impl Free {
    pub(crate) fn new(units: u64) -> Self {
        Self(AtomicI64::new(signed(units)))
    }

    /// Takes `units` if the word is open and has them. One compare-and-swap when nobody interferes.
    pub(crate) fn try_take(&self, units: u64) -> bool {
        let units = signed(units);
        let mut free = self.0.load(Ordering::Relaxed);
        while free >= units {
            match self.0.compare_exchange_weak(free, free - units, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => free = now,
            }
        }
        false
    }

    /// Takes `units` although they may not be free. Only under the core's lock, while closed.
    pub(crate) fn take(&self, units: u64) {
        self.0.fetch_sub(signed(units), Ordering::Acquire);
    }

    /// Gives `units` back. True if the word is closed: the releaser has to hand over under the lock.
    #[must_use]
    pub(crate) fn give(&self, units: u64) -> bool {
        self.0.fetch_add(signed(units), Ordering::Release) < CLOSED_BELOW
    }

    /// Closes the word: from here on only the holder of the core's lock takes units. Only under the lock, and
    /// only while open.
    pub(crate) fn close(&self) {
        self.0.fetch_sub(BIAS, Ordering::AcqRel);
    }

    /// Opens the word again. Only under the lock, and only while closed.
    pub(crate) fn open(&self) {
        self.0.fetch_add(BIAS, Ordering::AcqRel);
    }

    /// Changes the number of units there are by `change`.
    pub(crate) fn resize(&self, change: i64) {
        self.0.fetch_add(change, Ordering::AcqRel);
    }

    /// Free units now, negative for a debt, whether closed or not.
    pub(crate) fn units(&self) -> i64 {
        let free = self.0.load(Ordering::Acquire);
        if free < CLOSED_BELOW { free + BIAS } else { free }
    }

    /// Units the fast path would find: 0 or less while closed.
    pub(crate) fn open_units(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// At most [`MAX_UNITS`], as a signed number.
pub(crate) fn signed(units: u64) -> i64 {
    i64::try_from(units.min(MAX_UNITS)).unwrap_or(i64::MAX >> 8)
}
