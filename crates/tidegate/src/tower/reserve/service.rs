//! [`Reserve`]: `poll_ready` takes the permit that `call` uses.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use crate::demand::Demand;
use crate::limiter::{Admission, Limiter};
use crate::readiness::{AskReady, Readiness};
use crate::tower::demand::OneEach;
use crate::tower::hold::{Hold, UntilResponse};
use crate::tower::limit::{Limit, LimitFuture, LimitLayer};
use crate::tower::outcome::{ErrIsIgnored, OutcomeOf};
use crate::tower::refusal::{AsError, OnRefusal};

use super::holds::{Entry, Holds, Stake};

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
        Reserve { limit: self.limit.layer(inner), holds: Arc::clone(&self.holds), entry: None }
    }
}

/// A service behind a limiter that keeps tower's strict contract: `poll_ready` takes one unit, and `call` uses it.
/// For those who decide by `poll_ready` alone, such as `Balance` or `Steer` above it.
///
/// A handle that became ready and is not called holds its unit for a short time
/// ([`ReserveLayer::lapse_after`]), then it passes on to whoever is next, whether or not the handle is looked at again;
/// within twice that time: one task for each layer
/// sees to that, while there are holds. A call whose hold has lapsed asks again, as
/// [`Limit`] does. A handle that waits in the queue keeps its place until it is dropped or
/// [`disarm`](Self::disarm)ed; a unit granted to it while nobody looks passes on in the same way.
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
    entry: Option<Entry>,
}

impl<S, O, R, H> Reserve<S, O, R, H> {
    /// Does it hold a unit?
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| self.holds.is_held(entry))
    }

    /// Gives back the unit it holds, or its place in the queue. Tells whether it held a unit.
    pub fn disarm(&mut self) -> bool {
        match self.leave() {
            Some(Stake::Holds { permit, .. }) => {
                permit.ignore();
                true
            }
            Some(Stake::Waits(ticket)) => {
                ticket.decline();
                false
            }
            None => false,
        }
    }

    fn leave(&mut self) -> Option<Stake> {
        self.entry.take().and_then(|entry| self.holds.take(&entry))
    }

    /// The limiter.
    pub fn limiter(&self) -> &Limiter {
        self.limit.limiter()
    }
}

impl<S, O, R, H> Drop for Reserve<S, O, R, H> {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl<S: Clone, O: Clone, R: Clone, H: Clone> Clone for Reserve<S, O, R, H> {
    fn clone(&self) -> Self {
        Self { limit: self.limit.clone(), holds: Arc::clone(&self.holds), entry: None }
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
            if let Some(entry) = &self.entry {
                match self.holds.poll(entry, cx) {
                    Some(polled) => return polled.map(Ok),
                    // It lapsed; or the wait was too long for a caller: a handle waits on, at the end of the queue.
                    None => drop(self.leave()),
                }
            }
            match self.limit.limiter().enqueue(Demand::ONE) {
                Ok(Admission::Waiting(ticket)) => self.entry = Some(self.holds.wait(ticket)),
                Ok(Admission::Admitted(permit)) => {
                    self.entry = Some(self.holds.begin(permit));
                    return Poll::Ready(Ok(()));
                }
                Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.leave() {
            Some(Stake::Holds { permit, .. }) => self.limit.call_with(permit, request),
            Some(Stake::Waits(_)) | None => self.limit.call(request),
        }
    }
}

impl<S, O, R, H> fmt::Debug for Reserve<S, O, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("armed", &self.is_armed()).finish_non_exhaustive()
    }
}
