//! Credit that was charged for something the receiver has in hand, whatever its type.

use std::fmt;
use std::sync::Arc;

use crate::budget::{Budget, Lease};
use crate::wakes::Wakes;

use super::ledger::{Ledger, Need};

/// A channel seen by what is leased from it.
pub(super) trait Account: Send + Sync {
    /// The channel's number: of two, the lower one is locked first.
    fn number(&self) -> u64;

    /// What its bytes are charged to as well.
    fn budget(&self) -> Option<&Budget>;

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
    /// The same bytes in the budget behind the channel, if there is one. Given back after the channel's.
    lease: Option<Box<Lease>>,
}

impl Charge {
    pub(super) fn new(account: Arc<dyn Account>, need: Need, since: u64, lease: Option<Box<Lease>>) -> Self {
        Self { account, need, items: 1, since, lease }
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
        let lease = self.lease.as_mut().and_then(|lease| lease.split(bytes)).map(Box::new);
        Self { account: Arc::clone(&self.account), need, items: 0, since: self.since, lease }
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
        let Some(lease) = self.charge_budget(to.budget()) else { return false };
        let mut wakes = Wakes::default();
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
            // The new one instead of the old one, if it is another.
            match lease {
                Budgeted::Kept => {}
                Budgeted::New(lease) => self.lease = lease,
            }
            drop(was);
        } else if let (Budgeted::Kept, Some(lease), Some(home)) =
            (lease, &mut self.lease, self.account.budget())
        {
            // Back to where it was; if others took the room meanwhile, it stays charged over there.
            _ = lease.transfer(home);
        }
        wakes.run();
        moved
    }

    /// Charges what is held to the budget that it is to be charged to, before the channel's lock is taken: a budget wakes
    /// whoever waits for what comes back. `None` if there is no room in it.
    fn charge_budget(&mut self, to: Option<&Budget>) -> Option<Budgeted> {
        match (&mut self.lease, to) {
            (None, None) => Some(Budgeted::Kept),
            (Some(lease), Some(to)) => lease.transfer(to).ok().map(|()| Budgeted::Kept),
            (None, Some(to)) => {
                to.try_lease(self.need.bytes).ok().map(|new| Budgeted::New(Some(Box::new(new))))
            }
            (Some(_), None) => Some(Budgeted::New(None)),
        }
    }
}

/// What becomes of the lease when the charge has been moved.
enum Budgeted {
    /// It is charged to the right budget already.
    Kept,
    /// This takes its place.
    New(Option<Box<Lease>>),
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
