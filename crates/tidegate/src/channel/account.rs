//! Credit that was charged for something the receiver has in hand, whatever its type.

use std::fmt;
use std::sync::Arc;

use super::ledger::{Ledger, Need};

/// A channel seen by what is leased from it.
pub(super) trait Account: Send + Sync {
    /// The channel's number: of two, the lower one is locked first.
    fn number(&self) -> u64;

    /// Something with the credit, under the channel's lock.
    fn with(&self, job: &mut dyn FnMut(&mut Ledger));

    /// What was leased is free again; whoever waits for it is woken.
    fn release(&self, need: Need, items: usize, since: u64);
}

/// Bytes held in a channel, until dropped.
///
/// What [`Leased::into_parts`](super::Leased::into_parts) leaves beside the item, and [`split`](Self::split) makes of
/// one. Dropping it gives the credit back before it returns, and whoever waits for it is woken.
#[must_use = "the bytes are given back when this is dropped"]
pub struct Charge {
    account: Arc<dyn Account>,
    need: Need,
    /// One, or none for what was split off.
    items: usize,
    since: u64,
}

impl Charge {
    pub(super) fn new(account: Arc<dyn Account>, need: Need, since: u64) -> Self {
        Self { account, need, items: 1, since }
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.need.bytes
    }

    /// Splits off `bytes` (all of them, if there are fewer), which are then given back by themselves: a large item
    /// that is used up piece by piece makes room piece by piece. The item's place stays with the rest.
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.need.bytes);
        self.need.bytes -= bytes;
        let need = Need { bytes, ..self.need };
        Self { account: Arc::clone(&self.account), need, items: 0, since: self.since }
    }

    /// Something with the credit of its channel.
    pub(super) fn note(&self, job: &mut dyn FnMut(&mut Ledger)) {
        self.account.with(job);
    }

    /// Moves what is held to `to`, on the account `tag`, if there is room: it is charged in the one or in the other, never in
    /// both and never in neither, for both locks are held. True if it was moved.
    pub(super) fn transfer(&mut self, to: Arc<dyn Account>, tag: u32) -> bool {
        if self.account.number() == to.number() {
            return true;
        }
        let mut wakes = crate::wakes::Wakes::default();
        let mut moved = false;
        let (need, items, since) = (self.need, self.items, self.since);
        let mut change = |from: &mut Ledger, to: &mut Ledger| {
            // Each channel counts from its own beginning.
            let age = from.age(since);
            let since = to.ago(age);
            if to.adopt(Need { tag, ..need }, items, since) {
                from.release(need, items, self.since);
                from.grant(&mut wakes);
                self.since = since;
                moved = true;
            }
        };
        // One order for all, so that two that are moved towards each other do not wait for each other.
        if self.account.number() < to.number() {
            self.account.with(&mut |from| to.with(&mut |to| change(from, to)));
        } else {
            to.with(&mut |to| self.account.with(&mut |from| change(from, to)));
        }
        if moved {
            self.need.tag = tag;
            let was = std::mem::replace(&mut self.account, to);
            drop(was);
        }
        wakes.run();
        moved
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.need.bytes > 0 || self.items > 0 {
            self.account.release(self.need, self.items, self.since);
        }
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charge").field("bytes", &self.need.bytes).finish_non_exhaustive()
    }
}
