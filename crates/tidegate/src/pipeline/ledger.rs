//! [`Ledger`]: what became of everything that came into a stage.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What became of the items that a stage took. Whatever was taken is in one of the fields from `passed` on, or is
/// worked on now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Items taken; by the source: items that it was asked for and gave.
    pub taken: u64,
    /// Its function did its work on them.
    pub passed: u64,
    /// Their deadline had passed before the function began.
    pub expired: u64,
    /// They failed and were dropped ([`Stage::skip_failed`](super::Stage::skip_failed)).
    pub skipped: u64,
    /// They failed and were sent on ([`Stage::dead_letters`](super::Stage::dead_letters)).
    pub dead_lettered: u64,
    /// Of the letters, so many were pushed out by the channel's own policy as they were sent: they themselves
    /// ([`DropNewest`](crate::channel::Overflow::DropNewest)), or older ones that lay there
    /// ([`DropOldest`](crate::channel::Overflow::DropOldest)). Nobody receives them.
    pub letters_lost: u64,
    /// They failed, and the pipeline with them.
    pub failed: u64,
    /// Its function had been given them and had not ended when the pipeline was aborted: they are gone with it. So are parts of
    /// a batch or a fold that was not full, and dead letters that waited for their channel.
    pub interrupted: u64,
    /// They waited for this stage when the pipeline ended, for a worker, for room, or to be tried again, and are
    /// [left](super::Ended::left); not among those `taken`.
    pub left: u64,
    /// Items handed on to the next stage.
    pub emitted: u64,
    /// Attempts beyond the first.
    pub retries: u64,
}

impl Ledger {
    /// Items that its function works on now: taken, and not ended.
    #[must_use]
    pub fn in_hand(&self) -> u64 {
        let ended = self.passed + self.expired + self.skipped + self.dead_lettered + self.failed;
        self.taken.saturating_sub(ended + self.interrupted)
    }
}

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    Expired,
    Skipped,
    DeadLettered,
    Failed,
    Interrupted,
}

/// A stage's counters.
#[derive(Debug, Default)]
pub(super) struct Counts {
    taken: AtomicU64,
    ends: [AtomicU64; 6],
    letters_lost: AtomicU64,
    left: AtomicU64,
    emitted: AtomicU64,
    retries: AtomicU64,
}

impl Counts {
    pub(super) fn emit(&self) {
        self.emitted.fetch_add(1, Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn lose_letters(&self, letters: u64) {
        self.letters_lost.fetch_add(letters, Relaxed);
    }

    pub(super) fn leave(&self, items: u64) {
        self.left.fetch_add(items, Relaxed);
    }

    fn end(&self, end: End, items: u64) {
        let [passed, expired, skipped, dead, failed, interrupted] = &self.ends;
        let count = match end {
            End::Passed => passed,
            End::Expired => expired,
            End::Skipped => skipped,
            End::DeadLettered => dead,
            End::Failed => failed,
            End::Interrupted => interrupted,
        };
        count.fetch_add(items, Relaxed);
    }

    pub(super) fn read(&self) -> Ledger {
        // What ended is read before what was taken, so that no more seems to have ended than was taken.
        let [passed, expired, skipped, dead_lettered, failed, interrupted] =
            [0, 1, 2, 3, 4, 5].map(|end: usize| self.ends.get(end).map_or(0, |count| count.load(Relaxed)));
        Ledger {
            passed,
            expired,
            skipped,
            dead_lettered,
            failed,
            interrupted,
            taken: self.taken.load(Relaxed),
            letters_lost: self.letters_lost.load(Relaxed),
            left: self.left.load(Relaxed),
            emitted: self.emitted.load(Relaxed),
            retries: self.retries.load(Relaxed),
        }
    }
}

/// An item that a stage has in hand, or several that became one. Dropped without an end, they were interrupted.
#[derive(Debug, Default)]
pub(super) struct InHand {
    items: u64,
    ended: AtomicBool,
}

impl InHand {
    pub(super) fn take(counts: &Counts) -> Self {
        counts.taken.fetch_add(1, Relaxed);
        Self { items: 1, ended: AtomicBool::new(false) }
    }

    /// The other items end with these from now on.
    pub(super) fn absorb(&mut self, other: &Self) {
        if !other.ended.swap(true, Relaxed) {
            self.items = self.items.saturating_add(other.items);
        }
    }

    /// It was not begun with, and counts as never taken. False if it has ended already.
    pub(super) fn not_begun(&self, counts: &Counts) -> bool {
        let first = !self.ended.swap(true, Relaxed);
        if first {
            counts.taken.fetch_sub(self.items, Relaxed);
        }
        first
    }

    /// The first end is the one that counts.
    pub(super) fn end(&self, counts: &Counts, end: End) {
        if !self.ended.swap(true, Relaxed) {
            counts.end(end, self.items);
        }
    }
}
