//! What is due to the budget behind a channel: bytes are charged there too, before an item enters.
//!
//! Room in the channel comes first, then the budget's: a sender that waits for the second holds the first, so that its turn is
//! not lost. It has a seat meanwhile, through which it hears that the receiver is gone.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::budget::{self, Budget, Lease, Leasing};
use crate::refused::Reason;
use crate::wakes::Wakes;

use super::ledger::{Door, Need};
use super::sent::{Full, Why};
use super::shared::{Core, Shared};

/// The budget has no room.
pub(super) struct Spent(Box<budget::Full>);

impl Spent {
    pub(super) fn why(&self) -> Why {
        match self.0.reason {
            Reason::WaitTooLong | Reason::Deadline => Why::Deadline,
            Reason::Expired => Why::Expired,
            Reason::QueueFull => Why::LineFull,
            _ => Why::Memory,
        }
    }

    /// May waiting help?
    pub(super) fn may_pass(&self) -> bool {
        self.0.ever
    }

    pub(super) fn full<I>(&self, item: I, need: u64) -> Full<I> {
        Full { item, need, free: self.0.free, retry_after: self.0.wait, why: self.why() }
    }
}

/// A sender that has its room in the channel and waits for the budget's. To be [given up](Due::give_up) or
/// [settled](Due::poll).
#[derive(Debug)]
pub(super) struct Due {
    need: Need,
    since: u64,
    seat: u32,
    leasing: Pin<Box<Leasing>>,
}

/// What became of it.
pub(super) enum Settled {
    /// The room in the channel is still reserved, since then.
    Paid(u64, Box<Lease>),
    /// It is given back.
    Spent(Spent),
    /// The receiver is gone, or takes no more.
    Closed,
}

impl Due {
    /// Waits for the budget, with room that is reserved in the channel already.
    pub(super) fn new<T>(
        core: &mut Core<T>,
        budget: &Budget,
        need: Need,
        since: u64,
        deadline: Option<Instant>,
    ) -> Self {
        let leasing = budget.lease(need.bytes);
        let leasing = match deadline {
            Some(deadline) => leasing.by(deadline),
            None => leasing,
        };
        Self { need, since, seat: core.ledger.owe(), leasing: Box::pin(leasing) }
    }

    /// Is it paid? Else the task is woken when it is, or when the receiver is gone.
    pub(super) fn poll<T>(&mut self, shared: &Shared<T>, cx: &mut Context<'_>) -> Poll<Settled> {
        // Neither lock is held: the budget wakes others when it grants.
        let paid = self.leasing.as_mut().poll(cx);
        let mut wakes = Wakes::default();
        let mut core = shared.lock();
        let settled = match paid {
            Poll::Ready(Ok(lease)) if core.ledger.door != Door::Gone => {
                Settled::Paid(self.since, Box::new(lease))
            }
            Poll::Ready(Err(full)) if core.ledger.door == Door::Open => Settled::Spent(Spent(Box::new(full))),
            Poll::Pending if core.ledger.door == Door::Open => {
                let old = core.ledger.owe_on(self.seat, cx.waker());
                drop(core);
                drop(old);
                return Poll::Pending;
            }
            Poll::Ready(Ok(lease)) => {
                drop(core);
                drop(lease);
                core = shared.lock();
                Settled::Closed
            }
            Poll::Ready(Err(_)) | Poll::Pending => Settled::Closed,
        };
        let waker = core.ledger.vacate(self.seat, &mut wakes);
        if !matches!(settled, Settled::Paid(..)) {
            core.ledger.unreserve(self.need, 1, self.since, &mut wakes);
            core.wake_at_the_end(&mut wakes);
        }
        drop(core);
        drop(waker);
        wakes.run();
        Poll::Ready(settled)
    }

    /// Gives the room in the channel back, and the place in the budget's line.
    pub(super) fn give_up<T>(self, shared: &Shared<T>, canceled: bool) {
        let mut wakes = Wakes::default();
        let mut core = shared.lock();
        let waker = core.ledger.vacate(self.seat, &mut wakes);
        core.ledger.tally.canceled += u64::from(canceled);
        core.ledger.unreserve(self.need, 1, self.since, &mut wakes);
        core.wake_at_the_end(&mut wakes);
        drop(core);
        drop(waker);
        wakes.run();
    }
}

impl<T> Shared<T> {
    /// Bytes of the budget, if there is one. Never waits; wakes nobody, so it may be asked under the lock.
    #[inline]
    pub(super) fn lease(&self, bytes: u64) -> Result<Option<Box<Lease>>, Spent> {
        match &self.budget {
            None => Ok(None),
            Some(budget) => lease(budget, bytes).map(Some),
        }
    }

    /// Bytes that the budget has free, and when it would have `bytes`.
    pub(super) fn funds(&self, bytes: u64) -> (u64, Option<std::time::Duration>) {
        match &self.budget {
            None => (u64::MAX, Some(std::time::Duration::ZERO)),
            Some(budget) => (budget.free(), budget.predict(bytes)),
        }
    }
}

#[cold]
fn lease(budget: &Budget, bytes: u64) -> Result<Box<Lease>, Spent> {
    budget.try_lease(bytes).map(Box::new).map_err(|full| Spent(Box::new(full)))
}
