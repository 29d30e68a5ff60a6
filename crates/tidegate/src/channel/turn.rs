//! Waiting for room: a seat in the line, and the way out of it.

use std::task::{Poll, Waker};

use crate::sync::MutexGuard;
use crate::wakes::Wakes;

use super::ledger::{Door, Need};
use super::sender::Sender;
use super::shared::Core;

/// A sender's turn, from the moment it joined the line.
#[derive(Debug)]
pub(super) struct Turn {
    seat: u32,
}

/// How a wait ended.
pub(super) enum End {
    /// Credit is charged since then; the caller has to use it or give it back.
    Granted(u64),
    /// It was, and nobody came for it: it has passed on. The caller may line up anew.
    Lapsed,
    /// The receiver takes no more. The caller's own waker, to be dropped when the lock is free.
    Closed(Option<Waker>),
}

/// The end of a wait, and the lock under which it was seen.
pub(super) type Over<'s, T> = (MutexGuard<'s, Core<T>>, End);

impl Turn {
    /// Joins the line; it may have passed it at once. `None` if the line is full.
    pub(super) fn join<T>(
        sender: &Sender<T>,
        core: &mut Core<T>,
        need: Need,
        wakes: &mut Wakes,
    ) -> Option<Self> {
        // What is freed until here is folded in, what is freed later is brought to the ledger: nothing is missed.
        let mut outlet = sender.shared().fold(core);
        let seat = core.ledger.join(need);
        core.ledger.grant(wakes);
        sender.shared().attend(core, &mut outlet);
        seat.map(|seat| Self { seat })
    }

    /// Is the wait over? Else the `waker` is called when it is. With the lock, under which credit that was granted can be used.
    pub(super) fn poll<'s, T>(&self, mut core: MutexGuard<'s, Core<T>>, waker: &Waker) -> Poll<Over<'s, T>> {
        let mut old = None;
        let waker = Some(waker).filter(|_| core.ledger.door == Door::Open);
        match core.ledger.poll(self.seat, waker, &mut old) {
            Poll::Ready(since) => Poll::Ready((core, since.map_or(End::Lapsed, End::Granted))),
            Poll::Pending if core.ledger.door == Door::Open => {
                // A waker's drop may run foreign code: not under the lock.
                drop(core);
                drop(old);
                Poll::Pending
            }
            Poll::Pending => {
                // Behind a closed door nothing is granted to others, so nobody is woken here.
                let waker = core.ledger.vacate(self.seat, &mut Wakes::default());
                Poll::Ready((core, End::Closed(waker)))
            }
        }
    }

    /// Leaves the line, or gives back what was granted.
    pub(super) fn leave<T>(&self, sender: &Sender<T>, canceled: bool) {
        sender.shared().vacate(self.seat, canceled);
    }
}
