//! Sending one item, waiting for its turn if need be.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::{Instant, Sleep};

use crate::sync::MutexGuard;
use crate::wakes::Wakes;

use super::ledger::{Door, Need};
use super::sender::Sender;
use super::sent::{Closed, Sent, Why};
use super::shared::{Core, Policy};
use super::turn::{End, Turn};

/// Resolves to what became of the item; made by [`Sender::send`] and [`Sender::send_by`].
///
/// It sends when it is first polled. **When full:** as the channel's policy has it. **When cancelled:** dropping it leaves
/// the line at once, and drops the item; [`into_item`](Self::into_item) takes it back instead. Polled again after it
/// resolved, it stays pending.
#[must_use = "futures do nothing unless awaited"]
pub struct Sending<'s, T> {
    sender: &'s Sender<T>,
    /// The item, while it is not in.
    item: Option<T>,
    need: u64,
    turn: Option<Turn>,
    deadline: Option<Instant>,
    /// Made when it has to wait.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// The item is never pinned: it is moved in and out.
impl<T> Unpin for Sending<'_, T> {}

type Outcome<T> = Result<Sent<T>, Closed<T>>;

impl<'s, T> Sending<'s, T> {
    pub(super) fn new(sender: &'s Sender<T>, item: T, deadline: Option<Instant>) -> Self {
        let need = sender.need(&item);
        Self { sender, item: Some(item), need, turn: None, deadline, alarm: None }
    }

    /// Gives the place in the line up and takes the item back; `None` if it was sent, or handed back, already.
    pub fn into_item(mut self) -> Option<T> {
        let item = self.item.take();
        if let Some(turn) = self.turn.take() {
            turn.leave(self.sender, false);
        }
        item
    }

    fn begin(&mut self, item: T, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        match self.sender.try_put(item, self.need) {
            Ok(()) => Poll::Ready(Ok(Sent::Accepted)),
            Err((core, item)) => self.begin_to_wait(core, item, cx),
        }
    }

    fn begin_to_wait(
        &mut self,
        mut core: MutexGuard<'s, Core<T>>,
        item: T,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<T>> {
        let ledger = &core.ledger;
        let waits = matches!(core.overflow, Policy::Wait)
            && ledger.door == Door::Open
            && !self.sender.shared().is_oversize(self.need);
        if !waits {
            return Poll::Ready(self.sender.overflow(core, item, self.need, false));
        }
        if self.is_too_late(&core) {
            return Poll::Ready(Ok(Sent::Refused(core.refuse(item, self.need, Why::Deadline))));
        }
        let mut wakes = Wakes::default();
        let need = Need { bytes: self.need, tag: self.sender.tag() };
        let Some(turn) = Turn::join(self.sender, &mut core, need, &mut wakes) else {
            return Poll::Ready(Ok(Sent::Refused(core.refuse(item, self.need, Why::LineFull))));
        };
        let polled = self.go_on(turn, core, item, cx);
        wakes.run();
        polled
    }

    /// Would the wait last beyond the deadline, as far as can be told?
    fn is_too_late(&self, core: &Core<T>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let left = core.ledger.clock.until(deadline);
        let wait = core.ledger.room_in(self.need);
        left == Duration::ZERO || wait.samples > 0 && wait.expected > left
    }

    fn go_on(
        &mut self,
        turn: Turn,
        core: MutexGuard<'s, Core<T>>,
        item: T,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<T>> {
        let Poll::Ready((mut core, end)) = turn.poll(core, cx.waker()) else {
            self.turn = Some(turn);
            self.item = Some(item);
            return self.expire(cx);
        };
        let since = match end {
            End::Granted(since) => since,
            End::Closed(waker) => {
                core.ledger.tally.returned += 1;
                drop(core);
                drop(waker);
                return Poll::Ready(Err(Closed(item)));
            }
        };
        let need = Need { bytes: self.need, tag: self.sender.tag() };
        if core.ledger.door == Door::Gone {
            core.ledger.unreserve(need, 1, since, &mut Wakes::default());
            core.ledger.tally.returned += 1;
            drop(core);
            return Poll::Ready(Err(Closed(item)));
        }
        let receiver = core.put_reserved(item, need, since);
        drop(core);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Poll::Ready(Ok(Sent::Accepted))
    }

    /// Is its time over? Else the alarm is set.
    fn expire(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if self.alarm.is_none() && tokio::runtime::Handle::try_current().is_ok() {
            self.alarm = Some(Box::pin(tokio::time::sleep_until(deadline)));
        }
        let over = match &mut self.alarm {
            Some(alarm) => alarm.as_mut().poll(cx).is_ready(),
            None => self.sender.shared().lock().ledger.clock.until(deadline) == Duration::ZERO,
        };
        if !over {
            return Poll::Pending;
        }
        let (Some(turn), Some(item)) = (self.turn.take(), self.item.take()) else { return Poll::Pending };
        turn.leave(self.sender, false);
        let full = self.sender.shared().lock().refuse(item, self.need, Why::Expired);
        Poll::Ready(Ok(Sent::Refused(full)))
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let coop = ready!(coop::poll_proceed(cx));
        let Some(item) = this.item.take() else { return Poll::Pending };
        let polled = match this.turn.take() {
            None => this.begin(item, cx),
            Some(turn) => this.go_on(turn, this.sender.shared().lock(), item, cx),
        };
        if polled.is_ready() {
            coop.made_progress();
        }
        polled
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.leave(self.sender, self.item.is_some());
        }
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("need", &self.need).field("turn", &self.turn).finish_non_exhaustive()
    }
}
