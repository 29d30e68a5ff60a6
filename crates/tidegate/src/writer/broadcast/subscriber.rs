//! [`Subscriber`]: one who listens.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::coop;

use super::broadcast::Common;
use super::cut::Cut;
use super::ledger::Ledger;
use super::ring::Taken;
use super::shared::Shared;
use crate::sync::lock;

/// What a subscriber gets.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<T> {
    /// What was published.
    Item(Shared<T>),
    /// So many items were missed here, between those before and those after.
    Gap(u64),
}

/// Listens to a [`Broadcast`](super::Broadcast); made by [`Audience::subscribe`](super::Audience::subscribe). Dropped, it has
/// left, and what it was behind is kept for it no longer.
pub struct Subscriber<T> {
    common: Arc<Common<T>>,
    seat: u64,
}

impl<T> Subscriber<T> {
    pub(super) const fn new(common: Arc<Common<T>>, seat: u64) -> Self {
        Self { common, seat }
    }

    /// Leaves, and says what became of everything that it was offered: what it was behind is skipped.
    pub fn leave(self) -> Ledger {
        self.stand_up()
    }

    fn stand_up(&self) -> Ledger {
        let (ledger, waits) = self.common.with(|state, after| {
            let ledger = state.ring.leave(self.seat, after);
            (ledger, state.waits)
        });
        if waits {
            self.common.moved.notify_one();
        }
        ledger
    }

    /// What comes next; none when the broadcast was finished and everything was taken.
    ///
    /// **When full**: how far it may be behind, and what happens beyond, is in its [`Terms`](super::Terms). An item that it has
    /// taken counts no longer. **When cancelled**, nothing is lost.
    ///
    /// # Errors
    /// If it was [cut off](Cut).
    pub async fn recv(&mut self) -> Result<Option<Event<T>>, Cut> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The same for use in a hand-written future. Only the last waker is called.
    ///
    /// # Errors
    /// If it was [cut off](Cut).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event<T>>, Cut>> {
        let coop = ready!(coop::poll_proceed(cx));
        let mut state = lock(&self.common.state);
        let taken = state.ring.take(self.seat);
        let parked = match &taken {
            Taken::Nothing => state.ring.park(self.seat, cx.waker()),
            _ => None,
        };
        let waits = state.waits;
        drop(state);
        // A waker's drop may run foreign code: not under the lock.
        drop(parked);
        if matches!(taken, Taken::Nothing) {
            return Poll::Pending;
        }
        coop.made_progress();
        if waits {
            self.common.moved.notify_one();
        }
        Poll::Ready(match taken {
            Taken::Item(item) => Ok(Some(Event::Item(item))),
            Taken::Gap(missed) => Ok(Some(Event::Gap(missed))),
            Taken::Cut(cut) => Err(cut),
            Taken::End | Taken::Nothing => Ok(None),
        })
    }

    /// What became of what it was offered so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        lock(&self.common.state).ring.ledger(self.seat)
    }
}

impl<T> Drop for Subscriber<T> {
    fn drop(&mut self) {
        self.stand_up();
    }
}

impl<T> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("ledger", &self.ledger()).finish_non_exhaustive()
    }
}
