//! [`Reserve`]: `poll_ready` takes the permit that `call` uses.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use crate::demand::Demand;
use crate::limiter::{Admission, Limiter, Ticket};
use crate::readiness::{AskReady, Readiness};
use crate::tower::demand::OneEach;
use crate::tower::hold::{Hold, UntilResponse};
use crate::tower::limit::{Limit, LimitFuture, LimitLayer};
use crate::tower::outcome::{ErrIsIgnored, OutcomeOf};
use crate::tower::refusal::{AsError, OnRefusal};

use super::holds::Holds;

/// [`LimitLayer`] with tower's strict contract; made by [`LimitLayer::reserve`]. See [`Reserve`].
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct ReserveLayer<O = ErrIsIgnored, R = AsError, H = UntilResponse> {
    limit: LimitLayer<OneEach, O, R, H>,
    holds: Arc<Holds>,
}

impl<O, R, H> ReserveLayer<O, R, H> {
    /// How long a hold lasts by default: far longer than a program takes from `poll_ready` to `call`, even on a
    /// busy machine; short against any wait that somebody would notice.
    pub const DEFAULT_HOLD: Duration = Duration::from_millis(100);

    pub(in crate::tower) fn new(limit: LimitLayer<OneEach, O, R, H>) -> Self {
        Self { limit, holds: Holds::new(Self::DEFAULT_HOLD) }
    }

    /// How long a handle that is ready holds its unit without being called;
    /// [`DEFAULT_HOLD`](Self::DEFAULT_HOLD) by default.
    pub fn lapse_after(self, time: Duration) -> Self {
        Self { holds: Holds::new(time), ..self }
    }
}

impl<O, R, H> fmt::Debug for ReserveLayer<O, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lapse_after = self.holds.lapse_after();
        f.debug_struct("ReserveLayer").field("lapse_after", &lapse_after).finish_non_exhaustive()
    }
}

impl<S, O: Clone, R: Clone, H: Clone> Layer<S> for ReserveLayer<O, R, H> {
    type Service = Reserve<S, O, R, H>;

    fn layer(&self, inner: S) -> Self::Service {
        Reserve { limit: self.limit.layer(inner), holds: Arc::clone(&self.holds), stage: Stage::Idle }
    }
}

/// A service behind a limiter that keeps tower's strict contract: `poll_ready` takes one unit, and `call` uses it.
/// For those who decide by `poll_ready` alone, such as `Balance` or `Steer` above it.
///
/// A handle that became ready and is not called holds its unit for a short time
/// ([`ReserveLayer::lapse_after`]), then it passes on to whoever is next, whether or not the handle is looked at again;
/// one task for each layer sees to that, while there are holds. A call whose hold has lapsed asks again, as
/// [`Limit`] does. A handle that still waits in the queue keeps its place until it is dropped or
/// [`disarm`](Self::disarm)ed; a unit granted to it that it does not fetch passes on as with any
/// [`Ticket`](crate::Ticket).
///
/// **When full:** `poll_ready` is pending while there is a place in the queue. Where the limiter refuses even that,
/// it is ready, without a unit, and the call gets the refusal: an error there would tell the layers above that the
/// service is broken. **When cancelled:** dropping a handle gives its unit or its place back. Clones begin without
/// either. The inner service is driven to readiness inside the call, as [`Limit`] has it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::time::Duration;
/// use tidegate::Limiter;
/// use tidegate::tower::LimitLayer;
/// use tower::{Layer, ServiceExt};
///
/// let limiter = Limiter::fixed(1);
/// let mut service = LimitLayer::new(limiter.clone()).reserve().layer(tower::service_fn(|n: u32| async move {
///     Ok::<u32, std::io::Error>(n)
/// }));
/// ServiceExt::<u32>::ready(&mut service).await?;
/// assert_eq!(limiter.stats().available, 0);
/// tokio::time::sleep(Duration::from_secs(1)).await;
/// assert_eq!(limiter.stats().available, 1, "the hold lapsed");
/// # Ok::<(), tidegate::tower::BoxError>(()) }).unwrap();
/// ```
pub struct Reserve<S, O = ErrIsIgnored, R = AsError, H = UntilResponse> {
    limit: Limit<S, OneEach, O, R, H>,
    holds: Arc<Holds>,
    stage: Stage,
}

enum Stage {
    Idle,
    Waiting(Ticket),
    Armed(u64),
}

impl<S, O, R, H> Reserve<S, O, R, H> {
    /// Does it hold a unit?
    #[must_use]
    pub fn is_armed(&self) -> bool {
        matches!(self.stage, Stage::Armed(number) if self.holds.has(number))
    }

    /// Gives back the unit it holds, or its place in the queue. Tells whether it held a unit.
    pub fn disarm(&mut self) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => false,
            Stage::Waiting(ticket) => {
                ticket.decline();
                false
            }
            Stage::Armed(number) => match self.holds.take(number) {
                Some(permit) => {
                    permit.ignore();
                    true
                }
                None => false,
            },
        }
    }

    /// The limiter.
    pub fn limiter(&self) -> &Limiter {
        self.limit.limiter()
    }
}

impl<S, O, R, H> Drop for Reserve<S, O, R, H> {
    fn drop(&mut self) {
        if let Stage::Armed(_) = self.stage {
            self.disarm();
        }
    }
}

impl<S: Clone, O: Clone, R: Clone, H: Clone> Clone for Reserve<S, O, R, H> {
    fn clone(&self) -> Self {
        Self { limit: self.limit.clone(), holds: Arc::clone(&self.holds), stage: Stage::Idle }
    }
}

/// What a caller without a hold would meet: the worse of the limiter's own answer and the inner service's.
impl<S: AskReady, O, R, H> AskReady for Reserve<S, O, R, H> {
    fn readiness(&self) -> Readiness {
        self.limit.readiness()
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        self.limit.readiness_for(demand)
    }
}

impl<S, O, R, H, Req> Service<Req> for Reserve<S, O, R, H>
where
    S: Service<Req> + Clone,
    O: OutcomeOf<S::Response, S::Error> + Clone,
    R: OnRefusal<H::Held, S::Error> + Clone,
    H: Hold<S::Response> + Clone,
{
    type Response = H::Held;
    type Error = R::Error;
    type Future = LimitFuture<S, Req, O, R, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        loop {
            let permit = match &mut self.stage {
                Stage::Armed(number) if self.holds.has(*number) => return Poll::Ready(Ok(())),
                Stage::Waiting(ticket) => match ready!(Pin::new(ticket).poll(cx)) {
                    Ok(permit) => permit,
                    // The wait was too long for a caller; a handle waits on, at the end of the queue.
                    Err(_) => {
                        self.stage = Stage::Idle;
                        continue;
                    }
                },
                Stage::Idle | Stage::Armed(_) => match self.limit.limiter().enqueue(Demand::ONE) {
                    Ok(Admission::Admitted(permit)) => permit,
                    Ok(Admission::Waiting(ticket)) => {
                        self.stage = Stage::Waiting(ticket);
                        continue;
                    }
                    Err(_) => {
                        self.stage = Stage::Idle;
                        return Poll::Ready(Ok(()));
                    }
                },
            };
            self.stage = Stage::Armed(self.holds.begin(permit));
            return Poll::Ready(Ok(()));
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let permit = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Armed(number) => self.holds.take(number),
            Stage::Idle | Stage::Waiting(_) => None,
        };
        match permit {
            Some(permit) => self.limit.call_with(permit, request),
            None => self.limit.call(request),
        }
    }
}

impl<S, O, R, H> fmt::Debug for Reserve<S, O, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("armed", &self.is_armed()).finish_non_exhaustive()
    }
}
