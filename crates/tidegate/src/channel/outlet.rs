//! The receiver's side of a channel, behind a lock of its own: what it takes next, and what has become free since somebody
//! needed to know.
//!
//! A sender and a receiver on two threads would contend for one lock three times an item. So the receiver takes all that is
//! queued at once, and what it takes and frees is noted here, to be [folded](super::ledger::Ledger::fold) into the ledger
//! when somebody finds no room, or asks. While somebody waits (`attention`), nothing is noted: releases go to the ledger,
//! which hands them on at once.
//!
//! Lock order: the core before its outlet; of two channels, the older one first.

use std::collections::VecDeque;

use super::ledger::{Amount, Need};
use super::shared::Queued;

pub(super) struct Outlet<T> {
    pub(super) queue: VecDeque<Queued<T>>,
    pub(super) returns: Returns,
}

impl<T> Outlet<T> {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), returns: Returns::default() }
    }

    /// The next item that the receiver has already.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Queued<T>> {
        let queued = self.queue.pop_front()?;
        self.returns.taken.add(queued.need.bytes, 1);
        Some(queued)
    }
}

/// What was taken and freed since it was last folded into the ledger.
#[derive(Debug, Default)]
pub(super) struct Returns {
    pub(super) taken: Amount,
    pub(super) freed: Amount,
    /// By tag.
    pub(super) sums: Vec<Sum>,
    /// Is there somebody for whom a release is news?
    pub(super) attention: bool,
}

/// What was freed under one tag.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) freed: Amount,
    /// Σ bytes·since.
    pub(super) moment: u128,
}

impl Returns {
    /// What was leased is free again.
    #[inline]
    pub(super) fn free(&mut self, need: Need, items: usize, since: u64) {
        self.freed.add(need.bytes, items);
        let freed = Amount { bytes: need.bytes, items };
        let moment = u128::from(need.bytes) * u128::from(since);
        match self.sums.get_mut(need.tag as usize) {
            Some(sum) => sum.add(freed, moment),
            None => self.first_of(need.tag as usize, Sum { freed, moment }),
        }
    }

    /// The first of its tag, of which there are a bounded number.
    #[cold]
    fn first_of(&mut self, tag: usize, first: Sum) {
        self.sums.resize(tag, Sum::default());
        self.sums.push(first);
    }
}

impl Sum {
    #[inline]
    fn add(&mut self, freed: Amount, moment: u128) {
        self.freed.add(freed.bytes, freed.items);
        self.moment = self.moment.wrapping_add(moment);
    }
}
