//! A place in the queue.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_control::queue::Place;

use crate::demand::Demand;
use crate::readiness::WaitEstimate;
use crate::refused::Refused;

use super::alarm::TicketAlarm;
use super::door::Terms;
use super::lane::Joined;
use super::limiter::Limiter;
use super::permit::Permit;
use super::ringer::Ringer;
use super::seat::Grant;
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
/// waited (a program that stood still meanwhile has a moment more). **When full:** a ticket has its place already, and
/// loses it only to more important work, as [`Displaced`](crate::Reason::Displaced).
///
/// On a tokio runtime (its timer must be enabled, and it must not end before the ticket does, once that was polled
/// there: to poll it later panics, as with tokio's own timers) the ticket wakes itself when its time is over; where the line moves
/// so fast that nobody is expected to wait two milliseconds, up to 10 ms later, because the clock is not read for each. A
/// time that the demand names itself is kept exactly. Elsewhere it expires when its turn comes, or at the limiter's next
/// [`tick`](Limiter::tick).
///
/// **When cancelled:** dropping it, awaited or not, leaves the queue at once; capacity that was granted and not
/// claimed passes on to the next. Polling it again after it resolved never resolves.
#[must_use = "a ticket holds a place in the queue until awaited, declined or dropped"]
pub struct Ticket {
    /// Until it has its answer.
    limiter: Option<Limiter>,
    seat: u32,
    place: Place,
    id: TicketId,
    /// Units asked for.
    weight: u64,
    /// When the wait began.
    since: u64,
    /// When it ends without an answer.
    expires: u64,
    kind: u8,
    /// It need not wait long.
    short: bool,
    alarm: TicketAlarm,
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
    /// One that has not been polled.
    pub(super) fn new(limiter: Limiter, joined: Joined, terms: Terms, demand: &Demand) -> Self {
        Self::with(limiter, joined, terms, demand, TicketAlarm::Unset)
    }

    /// One that has left its waker already, and leans on a shared alarm.
    #[inline(always)]
    pub(super) fn parked(limiter: Limiter, joined: Joined, terms: Terms, demand: &Demand) -> Self {
        Self::with(limiter, joined, terms, demand, TicketAlarm::Shared)
    }

    #[inline(always)]
    fn with(limiter: Limiter, joined: Joined, terms: Terms, demand: &Demand, alarm: TicketAlarm) -> Self {
        let (Joined { seat, place, since }, Terms { id, expires, short }) = (joined, terms);
        let (limiter, id, weight, kind) = (Some(limiter), TicketId(id), demand.weight, demand.kind);
        Self { limiter, seat, place, id, weight, since, expires, kind, short, alarm }
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
        self.alarm = TicketAlarm::Off;
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
        self.limiter.as_ref().map_or(0, |limiter| limiter.shared().ahead(self.place))
    }

    /// How much longer the wait is expected to take; zero once it has ended.
    #[must_use]
    pub fn estimate(&self) -> WaitEstimate {
        let Some(limiter) = &self.limiter else { return WaitEstimate::default() };
        limiter.estimate(self.ahead().saturating_add(self.weight))
    }

    /// How long it has waited; zero once the wait has ended.
    #[must_use]
    pub fn waited(&self) -> Duration {
        let Some(limiter) = &self.limiter else { return Duration::ZERO };
        Duration::from_nanos(limiter.shared().clock.now().saturating_sub(self.since))
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
        match self.claim() {
            Poll::Ready(result) => result.map_err(TryClaimError::Refused),
            Poll::Pending => Err(TryClaimError::NotYet(self)),
        }
    }

    #[inline]
    fn claim(&mut self) -> Poll<Result<Permit, Refused>> {
        let answer = self.limiter.as_ref().and_then(|limiter| limiter.shared().seats.get(self.seat)?.take());
        answer.map_or(Poll::Pending, |answer| self.resolve(answer))
    }

    #[inline]
    fn resolve(&mut self, answer: Result<Grant, Box<Refused>>) -> Poll<Result<Permit, Refused>> {
        match (self.limiter.take(), answer) {
            (None, _) => Poll::Pending,
            (Some(limiter), Ok(grant)) => Poll::Ready(Ok(Permit::new(limiter, self.ending(grant)))),
            (Some(_), Err(refused)) => Poll::Ready(Err(*refused)),
        }
    }

    /// The permit, if capacity was handed over. It has nothing more to do then.
    #[inline(always)]
    pub(super) fn take_granted(&mut self) -> Option<(Limiter, Ending)> {
        let grant = self.limiter.as_ref()?.shared().seats.get(self.seat)?.take_grant()?;
        Some((self.limiter.take()?, self.ending(grant)))
    }

    /// Is there nothing to drop any more?
    #[inline(always)]
    pub(super) fn owns_nothing(&self) -> bool {
        self.limiter.is_none() && !matches!(self.alarm, TicketAlarm::Own(_))
    }

    #[inline(always)]
    fn ending(&self, grant: Grant) -> Ending {
        Ending::after(self.weight, self.kind, grant, self.since)
    }

    /// Leaves the waker, and sees to an alarm. Ready when its time is over, or when it has its answer.
    fn park(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limiter) = &self.limiter else { return Poll::Pending };
        let shared = limiter.shared_handle();
        // Whoever polls again although it leans has been woken by the alarm, or may be elsewhere by now.
        let lean = self.short && matches!(self.alarm, TicketAlarm::Unset);
        let ringer = if lean { Ringer::here() } else { None };
        match shared.park(self.place, cx.waker(), ringer) {
            None => return Poll::Ready(()),
            Some(true) => {
                self.alarm = TicketAlarm::Shared;
                return Poll::Pending;
            }
            Some(false) => {}
        }
        if matches!(self.alarm, TicketAlarm::Unset | TicketAlarm::Shared) {
            self.alarm = TicketAlarm::own(shared.clock.instant(self.expires));
        }
        self.alarm.poll(cx)
    }

    fn leave(&mut self, count: fn(&Counts) -> &std::sync::atomic::AtomicU64) {
        if let Some(limiter) = self.limiter.take() {
            limiter.shared().leave(self.seat, self.place, self.weight, count);
        }
    }
}

impl Future for Ticket {
    type Output = Result<Permit, Refused>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.limiter.is_none() {
            return Poll::Pending;
        }
        if let Poll::Ready(result) = this.claim() {
            return Poll::Ready(result);
        }
        if this.park(cx).is_pending() {
            return Poll::Pending;
        }
        let answer = this.limiter.as_ref().and_then(|limiter| limiter.shared().expire(this.seat, this.place));
        answer.map_or(Poll::Pending, |answer| this.resolve(answer))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave(|counts| &counts.canceled);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.limiter.is_none();
        f.debug_struct("Ticket").field("id", &self.id).field("done", &done).finish_non_exhaustive()
    }
}
