//! A place in the queue.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_control::queue::Place;
use tokio::time::Sleep;

use super::core::{Cell, Claim};
use super::limiter::Limiter;
use super::permit::Permit;
use crate::readiness::WaitEstimate;
use crate::refused::{Reason, Refused};

/// The identity of a ticket, unique within its limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketId(pub(crate) u64);

/// A place in a limiter's queue: await it to be admitted, or give it up.
///
/// Resolves to a [`Permit`], or to a [`Refused`] if the wait outlives its bounds
/// ([`Reason::Expired`]) or more important work takes the place ([`Reason::Displaced`]). Needs a tokio runtime
/// with time enabled when it is awaited.
///
/// **Cancel safety:** dropping it, awaited or not, leaves the queue at once; a grant that was not claimed
/// passes on to the next.
#[must_use = "a ticket holds a place in the queue until awaited, declined or dropped"]
pub struct Ticket {
    pub(crate) limiter: Limiter,
    pub(crate) cell: Arc<Cell>,
    pub(crate) place: Place,
    pub(crate) id: TicketId,
    pub(crate) since: u64,
    pub(crate) until: u64,
    pub(crate) expiry: Option<Pin<Box<Sleep>>>,
    pub(crate) done: bool,
}

/// A ticket could not be claimed now.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryClaimError {
    /// It still waits; here it is again.
    NotYet(Ticket),
    /// It was refused.
    Refused(Refused),
}

impl Ticket {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> TicketId {
        self.id
    }

    /// Units that will be admitted before it; 0 once it is its turn.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        self.limiter.ahead(self.place)
    }

    /// How much longer the wait is expected to take.
    #[must_use]
    pub fn estimate(&self) -> WaitEstimate {
        self.limiter.estimate(self.ahead().saturating_add(1))
    }

    /// How long it has waited.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.limiter.now().saturating_sub(self.since))
    }

    /// Gives the place up.
    pub fn decline(mut self) {
        self.leave(Leave::Declined);
    }

    /// The permit, if it is this ticket's turn.
    ///
    /// # Errors
    /// [`TryClaimError::NotYet`] hands the ticket back, [`TryClaimError::Refused`] ends it.
    pub fn try_claim(mut self) -> Result<Permit, TryClaimError> {
        match self.cell.claim(None) {
            Claim::Granted { at, holder, weight, kind } => {
                self.done = true;
                Ok(self.limiter.granted(weight, kind, self.since, at, holder))
            }
            Claim::Refused(refused) => {
                self.done = true;
                Err(TryClaimError::Refused(refused))
            }
            Claim::Waiting => Err(TryClaimError::NotYet(self)),
        }
    }

    fn leave(&mut self, how: Leave) {
        if !self.done {
            self.done = true;
            self.limiter.leave_queue(self.place, &self.cell, how);
        }
    }
}

/// How a ticket left the queue unserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Declined,
    Canceled,
    Expired,
}

impl Future for Ticket {
    type Output = Result<Permit, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.cell.claim(Some(cx)) {
            Claim::Granted { at, holder, weight, kind } => {
                this.done = true;
                return Poll::Ready(Ok(this.limiter.granted(weight, kind, this.since, at, holder)));
            }
            Claim::Refused(refused) => {
                this.done = true;
                return Poll::Ready(Err(refused));
            }
            Claim::Waiting => {}
        }
        let until = this.limiter.instant(this.until);
        let expiry = this.expiry.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if expiry.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.leave(Leave::Expired);
        Poll::Ready(Err(this.limiter.refusal(Reason::Expired)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave(Leave::Canceled);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).field("done", &self.done).finish_non_exhaustive()
    }
}
