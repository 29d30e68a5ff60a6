//! Sending one item, waiting for its turn if need be.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::{Instant, Sleep};

use crate::budget::Lease;
use crate::sync::MutexGuard;
use crate::wakes::Wakes;

use super::due::{Due, Settled, Spent};
use super::ledger::{Door, Need};
use super::overflow::Came;
use super::sender::{Sender, Unfit};
use super::sent::{Closed, Sent, Why};
use super::shared::{Core, Policy};
use super::turn::{End, Turn};

/// Resolves to what became of the item; made by [`Sender::send`] and [`Sender::send_by`].
///
/// It sends when it is first polled. **When full:** as the channel's policy has it. **When cancelled:** dropping it leaves
/// the line at once, and drops the item; [`into_item`](Self::into_item) takes it back instead. Polled again after it
/// resolved, it stays pending.
///
/// Kept and **not polled**, it keeps room that it was granted from others for about a second: as others line up or give back,
/// what nobody came for passes on to whoever waits, and it lines up anew when it is polled; at the second of two looks 0.1 s
/// apart or more, so that a program that was stopped takes it from nobody who had no chance to come. Room with which it waits
/// for the budget behind the channel it keeps.
#[must_use = "futures do nothing unless awaited"]
pub struct Sending<'s, T> {
    sender: &'s Sender<T>,
    /// The item, while it is not in.
    item: Option<T>,
    need: u64,
    /// Its place in the line, or before the budget.
    place: Place,
    deadline: Option<Instant>,
    /// Made when it has to wait.
    alarm: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Place {
    None,
    Line(Turn),
    Budget(Box<Due>),
}

impl Place {
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::None)
    }
}

/// The item is never pinned: it is moved in and out.
impl<T> Unpin for Sending<'_, T> {}

type Outcome<T> = Result<Sent<T>, Closed<T>>;

impl<'s, T> Sending<'s, T> {
    pub(super) fn new(sender: &'s Sender<T>, item: T, deadline: Option<Instant>) -> Self {
        let need = sender.need(&item);
        Self { sender, item: Some(item), need, place: Place::None, deadline, alarm: None }
    }

    /// Gives the place in the line up and takes the item back; `None` if it was sent, or handed back, already.
    pub fn into_item(mut self) -> Option<T> {
        let item = self.item.take();
        self.give_up(false);
        item
    }

    #[cold]
    fn give_up(&mut self, canceled: bool) {
        match self.place.take() {
            Place::None => {}
            Place::Line(turn) => turn.leave(self.sender, canceled),
            Place::Budget(due) => due.give_up(self.sender.shared(), canceled),
        }
    }

    #[inline]
    fn begin(&mut self, item: T, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        match self.sender.try_put(item, self.need) {
            Ok(()) => Poll::Ready(Ok(Sent::Accepted)),
            Err(unfit) => self.begin_to_wait(unfit, cx),
        }
    }

    fn begin_to_wait(&mut self, unfit: Unfit<'s, T>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let (mut core, item, spent) = unfit;
        let waits = matches!(core.overflow, Policy::Wait)
            && core.ledger.door == Door::Open
            && !self.sender.shared().is_oversize(self.need)
            && spent.as_ref().is_none_or(Spent::may_pass);
        if !waits {
            let came = Came { spent, rerouted: false };
            return Poll::Ready(self.sender.overflow(core, item, self.need, came));
        }
        if spent.is_some() {
            // The channel has room.
            let since = core.ledger.reserve(self.tagged());
            return self.pay(core, since, item, cx);
        }
        if self.is_too_late(&core) {
            return Poll::Ready(Ok(Sent::Refused(core.refuse(item, self.need, Why::Deadline))));
        }
        let mut wakes = Wakes::default();
        let polled = match Turn::join(self.sender, &mut core, self.tagged(), &mut wakes) {
            Some(turn) => self.go_on(turn, core, item, cx),
            None => {
                let full = core.refuse(item, self.need, Why::LineFull);
                drop(core);
                Poll::Ready(Ok(Sent::Refused(full)))
            }
        };
        wakes.run();
        polled
    }

    fn resume(&mut self, item: T, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        match self.place.take() {
            Place::None => self.begin(item, cx),
            Place::Line(turn) => self.go_on(turn, self.sender.shared().lock(), item, cx),
            Place::Budget(due) => self.owe(due, item, cx),
        }
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
            self.place = Place::Line(turn);
            self.item = Some(item);
            return self.expire(cx);
        };
        let since = match end {
            End::Granted(since) => since,
            End::Lapsed => {
                drop(core);
                return self.begin(item, cx);
            }
            End::Closed(waker) => {
                core.ledger.tally.returned += 1;
                drop(core);
                drop(waker);
                return Poll::Ready(Err(Closed(item)));
            }
        };
        self.pay(core, since, item, cx)
    }

    /// With its room in the channel: what is due to the budget, and in.
    fn pay(
        &mut self,
        mut core: MutexGuard<'s, Core<T>>,
        since: u64,
        item: T,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<T>> {
        let shared = self.sender.shared();
        if core.ledger.door == Door::Gone {
            core.ledger.unreserve(self.tagged(), 1, since, &mut Wakes::default());
            core.ledger.tally.returned += 1;
            drop(core);
            return Poll::Ready(Err(Closed(item)));
        }
        match (shared.lease(self.need), &shared.budget) {
            (Err(_), Some(budget)) => {
                let due = Due::new(&mut core, budget, self.tagged(), since, self.deadline);
                drop(core);
                self.owe(Box::new(due), item, cx)
            }
            (lease, _) => Poll::Ready(Ok(self.enter(core, since, item, lease.unwrap_or_default()))),
        }
    }

    fn owe(&mut self, due: Box<Due>, item: T, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let shared = self.sender.shared();
        // Put down before the budget is asked: nothing is lost even if its timer should panic.
        self.item = Some(item);
        self.place = Place::Budget(due);
        let Place::Budget(due) = &mut self.place else { return Poll::Pending };
        let settled = ready!(due.poll(shared, cx));
        self.place = Place::None;
        let Some(item) = self.item.take() else { return Poll::Pending };
        let mut core = shared.lock();
        Poll::Ready(match settled {
            // The receiver may have gone since that was settled.
            Settled::Paid(since, lease) if core.ledger.door == Door::Gone => {
                core.ledger.unreserve(self.tagged(), 1, since, &mut Wakes::default());
                core.ledger.tally.returned += 1;
                drop(core);
                drop(lease);
                Err(Closed(item))
            }
            Settled::Paid(since, lease) => Ok(self.enter(core, since, item, Some(lease))),
            Settled::Spent(spent) => Ok(Sent::Refused(core.refuse_spent(item, self.need, &spent))),
            Settled::Closed => {
                core.ledger.tally.returned += 1;
                drop(core);
                Err(Closed(item))
            }
        })
    }

    fn enter(
        &self,
        mut core: MutexGuard<'s, Core<T>>,
        since: u64,
        item: T,
        lease: Option<Box<Lease>>,
    ) -> Sent<T> {
        let receiver = core.put_reserved(item, self.tagged(), since, lease);
        drop(core);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Sent::Accepted
    }

    fn tagged(&self) -> Need {
        Need { bytes: self.need, tag: self.sender.tag() }
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
        let Some(item) = self.item.take() else { return Poll::Pending };
        self.give_up(false);
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
        let polled = match this.place {
            Place::None => this.begin(item, cx),
            _ => this.resume(item, cx),
        };
        if polled.is_ready() {
            coop.made_progress();
        }
        polled
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if !matches!(self.place, Place::None) {
            self.give_up(self.item.is_some());
        }
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("need", &self.need)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
