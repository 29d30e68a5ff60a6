//! A place in the queue.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate_control::sample::Outcome;
use tokio::time::Sleep;

use crate::readiness::WaitEstimate;
use crate::refused::Refused;

use super::limiter::Limiter;
use super::permit::Permit;
use super::seat::{Grant, Seat};
use super::shared::Ending;
use super::stats::Counts;

/// A caller is in, or waits.
#[derive(Debug)]
#[must_use = "an admission holds capacity, or a place in the queue"]
pub enum Admission {
    /// Admitted at once.
    Admitted(Permit),
    /// Waiting; the ticket resolves to the permit.
    Waiting(Ticket),
}

/// The identity of a ticket, unique within its limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub(super) u64);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a limiter's queue: await it to be admitted, or give it up.
///
/// Resolves to a [`Permit`]; or to a [`Refused`]: [`Expired`](crate::Reason::Expired) when its deadline or
/// longest wait passes, or when it was granted capacity and nobody claimed it for a second while others
/// waited. **When full:** a ticket has its place already, and loses it only to more important work, as
/// [`Displaced`](crate::Reason::Displaced).
///
/// On a tokio runtime (its timer must be enabled) the ticket wakes itself when its time is over. Elsewhere it
/// expires when its turn comes, or at the limiter's next [`tick`](Limiter::tick).
///
/// **When cancelled:** dropping it, awaited or not, leaves the queue at once; capacity that was granted and not
/// claimed passes on to the next. Polling it again after it resolved never resolves.
#[must_use = "a ticket holds a place in the queue until awaited, declined or dropped"]
pub struct Ticket {
    limiter: Limiter,
    seat: Arc<Seat>,
    id: TicketId,
    /// Its own alarm, made when it is first polled and has to wait.
    alarm: Option<Pin<Box<Sleep>>>,
    alarmed: bool,
    done: bool,
}

/// A ticket could not be claimed.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryClaimError {
    /// It still waits; here it is again.
    NotYet(Ticket),
    /// It was refused.
    Refused(Refused),
}

impl fmt::Display for TryClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(_) => f.write_str("not yet"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for TryClaimError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotYet(_) => None,
            Self::Refused(refused) => Some(refused),
        }
    }
}

impl Ticket {
    pub(super) fn new(limiter: Limiter, seat: Arc<Seat>, id: u64) -> Self {
        Self { limiter, seat, id: TicketId(id), alarm: None, alarmed: true, done: false }
    }

    /// Leaves the end of its time to the limiter's next event or [`tick`](Limiter::tick), which ends overdue tickets
    /// anyway: for whoever calls that every 10 ms or so, it spares each wait a timer.
    ///
    /// ```
    /// use tidegate::{Admission, Limiter};
    ///
    /// let limiter = Limiter::fixed(1);
    /// let held = limiter.try_acquire(1);
    /// let Ok(Admission::Waiting(ticket)) = limiter.enqueue(1) else { unreachable!("the unit is held") };
    /// let ticket = ticket.without_alarm();
    /// drop(held);
    /// assert!(ticket.try_claim().is_ok());
    /// ```
    pub fn without_alarm(mut self) -> Self {
        self.alarmed = false;
        self
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> TicketId {
        self.id
    }

    /// Units that will be admitted before it; 0 once it is its turn.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        self.limiter.shared().ahead(&self.seat)
    }

    /// How much longer the wait is expected to take.
    #[must_use]
    pub fn estimate(&self) -> WaitEstimate {
        self.limiter.estimate(self.ahead().saturating_add(self.seat.weight))
    }

    /// How long it has waited.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.limiter.shared().clock.now().saturating_sub(self.seat.since))
    }

    /// Gives the place up. Capacity already granted passes on to the next.
    pub fn decline(mut self) {
        self.leave(|counts| &counts.declined);
    }

    /// The permit, if it is this ticket's turn. Never waits.
    ///
    /// # Errors
    /// [`TryClaimError::NotYet`] hands the ticket back, [`TryClaimError::Refused`] ends it.
    pub fn try_claim(mut self) -> Result<Permit, TryClaimError> {
        match self.claim(None) {
            Poll::Ready(result) => result.map_err(TryClaimError::Refused),
            Poll::Pending => Err(TryClaimError::NotYet(self)),
        }
    }

    fn claim(&mut self, waker: Option<&Waker>) -> Poll<Result<Permit, Refused>> {
        match self.seat.poll(waker) {
            Poll::Ready(Some(answer)) => Poll::Ready(self.resolve(answer)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn resolve(&mut self, answer: Result<Grant, Refused>) -> Result<Permit, Refused> {
        self.done = true;
        self.alarm = None;
        answer.map(|grant| {
            let ending = Ending {
                weight: self.seat.weight,
                since: grant.at,
                queued: grant.at.saturating_sub(self.seat.since),
                holder: grant.holder,
                kind: self.seat.kind,
                outcome: Outcome::Canceled,
                in_time: true,
            };
            Permit::new(self.limiter.clone(), ending)
        })
    }

    /// Is its time over? Leaves the alarm set otherwise.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.alarmed {
            return Poll::Pending;
        }
        if self.alarm.is_none() {
            let at = self.limiter.shared().clock.instant(self.seat.expires);
            let on_runtime = tokio::runtime::Handle::try_current().is_ok();
            self.alarm = at.filter(|_| on_runtime).map(|at| Box::pin(tokio::time::sleep_until(at)));
        }
        match &mut self.alarm {
            Some(alarm) => alarm.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn leave(&mut self, count: fn(&Counts) -> &std::sync::atomic::AtomicU64) {
        if !std::mem::replace(&mut self.done, true) {
            self.limiter.shared().leave(&self.seat, count);
        }
    }
}

impl Future for Ticket {
    type Output = Result<Permit, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.done {
            return Poll::Pending;
        }
        if let Poll::Ready(result) = this.claim(Some(cx.waker())) {
            return Poll::Ready(result);
        }
        if this.poll_alarm(cx).is_pending() {
            return Poll::Pending;
        }
        let answer = this.limiter.shared().expire(&this.seat);
        Poll::Ready(this.resolve(answer))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave(|counts| &counts.canceled);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).field("done", &self.done).finish_non_exhaustive()
    }
}
