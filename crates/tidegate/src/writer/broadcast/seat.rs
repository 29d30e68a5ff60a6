//! A subscriber's place in the ring.

use std::task::Waker;

use super::cut::Cut;
use super::ledger::Ledger;
use super::policy::Terms;

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) terms: Terms,
    /// The number of the next item it takes.
    pub(super) next: u64,
    /// Missed since it was last told.
    pub(super) gap: u64,
    pub(super) ledger: Ledger,
    pub(super) late: bool,
    pub(super) cut: Option<Cut>,
    pub(super) waker: Option<Waker>,
}

impl Seat {
    pub(super) const fn new(terms: Terms, next: u64) -> Self {
        let ledger = Ledger { offered: 0, delivered: 0, skipped: 0 };
        Self { terms, next, gap: 0, ledger, late: false, cut: None, waker: None }
    }

    pub(super) const fn may_be_behind(&self, (items, bytes): (u64, u64)) -> bool {
        items <= self.terms.max_items && bytes <= self.terms.max_bytes
    }

    /// Half of what it may be behind, or less.
    pub(super) const fn has_caught_up(&self, (items, bytes): (u64, u64)) -> bool {
        items <= self.terms.max_items / 2 && bytes <= self.terms.max_bytes / 2
    }
}
