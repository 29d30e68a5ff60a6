//! Room that was reserved: whoever has it can send without waiting.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::coop;

use crate::budget::Lease;
use crate::sync::MutexGuard;
use crate::wakes::Wakes;

use super::due::{Due, Settled};
use super::ledger::{Door, Need};
use super::sender::Sender;
use super::sent::{Closed, ReserveError, Why};
use super::shared::{Core, Shared};
use super::turn::{End, Turn};

/// Room for one item, charged until it is used or dropped.
///
/// A channel whose senders are gone does not end while somebody has room in it.
#[must_use = "room that is not used keeps others out until dropped"]
pub struct Permit<T> {
    shared: Arc<Shared<T>>,
    need: Need,
    since: u64,
    /// Until it is used.
    held: Option<Held>,
}

/// What a permit holds: its room in the channel, and its bytes in the budget behind it, if there is one.
struct Held(Option<Box<Lease>>);

impl<T> Permit<T> {
    pub(super) const fn new(
        shared: Arc<Shared<T>>,
        need: Need,
        since: u64,
        lease: Option<Box<Lease>>,
    ) -> Self {
        Self { shared, need, since, held: Some(Held(lease)) }
    }

    /// Bytes charged, the item's own share of the queue among them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.need.bytes
    }

    /// Gives back what an item of `weight` does not need. Never takes more.
    pub fn shrink_to(&mut self, weight: u64) {
        let surplus = self.need.bytes.saturating_sub(self.shared.charge_of(weight));
        if surplus > 0 {
            self.need.bytes -= surplus;
            self.shared.unreserve(Need { bytes: surplus, ..self.need }, 0, self.since);
            if let Some(Held(Some(lease))) = &mut self.held {
                lease.shrink_to(self.need.bytes);
            }
        }
    }

    /// Puts an item in. It is charged what was reserved, whatever it weighs.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (sender, mut receiver) = tidegate::channel::bounded::<String>(4096);
    /// let permit = sender.reserve(1000).await?;
    /// // … make the item, now that there is room for it …
    /// permit.send("made to order".to_owned())?;
    /// assert_eq!(&**receiver.recv().await.unwrap(), "made to order");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Closed`], with the item, if the receiver is gone.
    pub fn send(mut self, item: T) -> Result<(), Closed<T>> {
        let mut core = self.shared.lock();
        if core.ledger.door == Door::Gone {
            core.ledger.tally.returned += 1;
            drop(core);
            return Err(Closed(item));
        }
        let lease = self.held.take().and_then(|Held(lease)| lease);
        let receiver = core.put_reserved(item, self.need, self.since, lease);
        drop(core);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Ok(())
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.shared.unreserve(self.need, 1, self.since);
        }
    }
}

impl<T> fmt::Debug for Permit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("bytes", &self.need.bytes).finish_non_exhaustive()
    }
}

/// Resolves to room for one item; made by [`Sender::reserve`].
///
/// It asks when it is first polled. **When full:** it waits its turn, or resolves to a refusal if as many wait as may.
/// **When cancelled:** dropping it leaves the line at once, and what was granted passes on; there is nothing that could be
/// lost. Polled again after it resolved, it stays pending. Kept and **not polled**, it keeps what it was granted as
/// [`Sending`](super::Sending) does.
#[must_use = "futures do nothing unless awaited"]
pub struct Reserve<'s, T> {
    sender: &'s Sender<T>,
    need: Need,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Waiting(Turn),
    /// Has its turn, and waits for the budget.
    Owing(Box<Due>),
    Done,
}

impl<'s, T> Reserve<'s, T> {
    pub(super) fn new(sender: &'s Sender<T>, weight: u64) -> Self {
        let need = Need { bytes: sender.shared().charge_of(weight), tag: sender.tag() };
        Self { sender, need, state: State::New }
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit<T>, ReserveError>> {
        let shared = self.sender.shared();
        let bytes = self.need.bytes;
        let mut core = shared.lock();
        if core.ledger.door != Door::Open {
            return Poll::Ready(Err(ReserveError::Closed));
        }
        if shared.is_oversize(bytes) {
            return Poll::Ready(Err(ReserveError::Full(core.full((), bytes, Why::Oversize))));
        }
        if core.ledger.fits(bytes) || self.sender.fits_after_all(&mut core, bytes) {
            let since = core.ledger.reserve(self.need);
            return self.pay(core, since, cx);
        }
        let mut wakes = Wakes::default();
        let polled = match Turn::join(self.sender, &mut core, self.need, &mut wakes) {
            Some(turn) => self.go_on(turn, core, cx),
            None => {
                let full = core.full((), bytes, Why::LineFull);
                drop(core);
                Poll::Ready(Err(ReserveError::Full(full)))
            }
        };
        wakes.run();
        polled
    }

    fn go_on(
        &mut self,
        turn: Turn,
        core: MutexGuard<'s, Core<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Permit<T>, ReserveError>> {
        let Poll::Ready((core, end)) = turn.poll(core, cx.waker()) else {
            self.state = State::Waiting(turn);
            return Poll::Pending;
        };
        match end {
            End::Granted(since) => self.pay(core, since, cx),
            End::Lapsed => {
                drop(core);
                self.begin(cx)
            }
            End::Closed(waker) => {
                drop(core);
                drop(waker);
                Poll::Ready(Err(ReserveError::Closed))
            }
        }
    }

    /// With its room in the channel: what is due to the budget.
    fn pay(
        &mut self,
        mut core: MutexGuard<'s, Core<T>>,
        since: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Permit<T>, ReserveError>> {
        let shared = self.sender.shared();
        let lease = shared.lease(self.need.bytes);
        if let (Err(_), Some(budget)) = (&lease, &shared.budget) {
            let due = Due::new(&mut core, budget, self.need, since, None);
            drop(core);
            return self.owe(Box::new(due), cx);
        }
        let gone = core.ledger.door == Door::Gone;
        drop(core);
        let permit = Permit::new(Arc::clone(shared), self.need, since, lease.unwrap_or_default());
        Poll::Ready(if gone { Err(ReserveError::Closed) } else { Ok(permit) })
    }

    fn owe(&mut self, due: Box<Due>, cx: &mut Context<'_>) -> Poll<Result<Permit<T>, ReserveError>> {
        let shared = self.sender.shared();
        // Put down before the budget is asked: nothing is lost even if its timer should panic.
        self.state = State::Owing(due);
        let State::Owing(due) = &mut self.state else { return Poll::Pending };
        let settled = ready!(due.poll(shared, cx));
        self.state = State::Done;
        Poll::Ready(match settled {
            Settled::Paid(since, lease) => Ok(Permit::new(Arc::clone(shared), self.need, since, Some(lease))),
            Settled::Spent(spent) => Err(ReserveError::Full(spent.full((), self.need.bytes))),
            Settled::Closed => Err(ReserveError::Closed),
        })
    }
}

impl<T> Future for Reserve<'_, T> {
    type Output = Result<Permit<T>, ReserveError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if matches!(this.state, State::Done) {
            return Poll::Pending;
        }
        let coop = ready!(coop::poll_proceed(cx));
        let polled = match std::mem::replace(&mut this.state, State::Done) {
            State::New => this.begin(cx),
            State::Waiting(turn) => this.go_on(turn, this.sender.shared().lock(), cx),
            State::Owing(due) => this.owe(due, cx),
            State::Done => Poll::Pending,
        };
        if polled.is_ready() {
            coop.made_progress();
        }
        polled
    }
}

impl<T> Drop for Reserve<'_, T> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Waiting(turn) => turn.leave(self.sender, false),
            State::Owing(due) => due.give_up(self.sender.shared(), false),
            State::New | State::Done => {}
        }
    }
}

impl<T> fmt::Debug for Reserve<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("bytes", &self.need.bytes).finish_non_exhaustive()
    }
}
