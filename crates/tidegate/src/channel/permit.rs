//! Room that was reserved: whoever has it can send without waiting.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::coop;

use crate::sync::MutexGuard;
use crate::wakes::Wakes;

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
    used: bool,
}

impl<T> Permit<T> {
    pub(super) const fn new(shared: Arc<Shared<T>>, need: Need, since: u64) -> Self {
        Self { shared, need, since, used: false }
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
        let receiver = core.put_reserved(item, self.need, self.since);
        drop(core);
        self.used = true;
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Ok(())
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        if !self.used {
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
/// lost. Polled again after it resolved, it stays pending.
#[must_use = "futures do nothing unless awaited"]
pub struct Reserve<'s, T> {
    sender: &'s Sender<T>,
    need: Need,
    turn: Option<Turn>,
    done: bool,
}

impl<'s, T> Reserve<'s, T> {
    pub(super) fn new(sender: &'s Sender<T>, weight: u64) -> Self {
        let need = Need { bytes: sender.shared().charge_of(weight), tag: sender.tag() };
        Self { sender, need, turn: None, done: false }
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
            drop(core);
            return Poll::Ready(Ok(self.permit(since)));
        }
        let mut wakes = Wakes::default();
        let Some(turn) = Turn::join(self.sender, &mut core, self.need, &mut wakes) else {
            return Poll::Ready(Err(ReserveError::Full(core.full((), bytes, Why::LineFull))));
        };
        let polled = self.go_on(turn, core, cx);
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
            self.turn = Some(turn);
            return Poll::Pending;
        };
        let gone = core.ledger.door == Door::Gone;
        drop(core);
        match end {
            End::Granted(since) => {
                let permit = self.permit(since);
                Poll::Ready(if gone { Err(ReserveError::Closed) } else { Ok(permit) })
            }
            End::Closed(waker) => {
                drop(waker);
                Poll::Ready(Err(ReserveError::Closed))
            }
        }
    }

    fn permit(&self, since: u64) -> Permit<T> {
        Permit::new(Arc::clone(self.sender.shared()), self.need, since)
    }
}

impl<T> Future for Reserve<'_, T> {
    type Output = Result<Permit<T>, ReserveError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.done {
            return Poll::Pending;
        }
        let coop = ready!(coop::poll_proceed(cx));
        let polled = match this.turn.take() {
            None => this.begin(cx),
            Some(turn) => this.go_on(turn, this.sender.shared().lock(), cx),
        };
        if polled.is_ready() {
            this.done = true;
            coop.made_progress();
        }
        polled
    }
}

impl<T> Drop for Reserve<'_, T> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.leave(self.sender, false);
        }
    }
}

impl<T> fmt::Debug for Reserve<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("bytes", &self.need.bytes).finish_non_exhaustive()
    }
}
