//! [`Limit`]: admission before a service.

use std::task::{Context, Poll};

use tower_service::Service;

use crate::demand::Demand;
use crate::limiter::{Limiter, Permit};
use crate::readiness::{AskReady, Readiness};
use crate::tower::demand::{DemandOf, OneEach};
use crate::tower::hold::{Hold, UntilResponse};
use crate::tower::outcome::{ErrIsIgnored, OutcomeOf};
use crate::tower::refusal::{AsError, OnRefusal};

use super::future::LimitFuture;
use super::layer::LimitLayer;

/// A service behind a limiter; made by [`LimitLayer`].
///
/// `call` asks the limiter: admitted at once, a place in its queue, or a refusal. `poll_ready` is ready always
/// and touches nothing, neither the limiter nor the inner service, some of which (`Buffer`, `Balance`) take
/// capacity when asked: a handle that lies idle holds nothing. The inner service is driven to readiness inside
/// the call, under the permit, so what it takes, it takes for admitted work only. Whoever wants to know
/// beforehand asks [`AskReady::readiness`].
///
/// **When full:** the call waits in the limiter's queue, bounded in number and time; then it gets what
/// [`OnRefusal`] makes of the refusal. **When cancelled:** a waiting call leaves the queue at once; in one that was
/// admitted the work is dropped first, then the permit, as [`Outcome::Canceled`](crate::Outcome::Canceled).
/// **Errors:** the inner service's, and what [`OnRefusal`] makes one. **Panics** only where the inner service or a
/// closure does; the permit goes back when the future is dropped.
///
/// On the path of a call that is admitted at once nothing is allocated.
#[derive(Clone, Debug)]
pub struct Limit<S, D = OneEach, O = ErrIsIgnored, R = AsError, H = UntilResponse> {
    pub(super) inner: S,
    pub(super) with: LimitLayer<D, O, R, H>,
}

impl<S> Limit<S> {
    /// `inner` behind `limiter`, as [`LimitLayer::new`] has it.
    pub fn new(inner: S, limiter: Limiter) -> Self {
        Self { inner, with: LimitLayer::new(limiter) }
    }
}

impl<S, D, O, R, H> Limit<S, D, O, R, H> {
    /// The limiter.
    pub fn limiter(&self) -> &Limiter {
        &self.with.limiter
    }

    /// The service behind it.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service behind it, to change it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service behind it, without the limiter.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// A call under a permit that was taken before.
    pub(crate) fn call_with<Req>(&self, permit: Permit, request: Req) -> LimitFuture<S, Req, O, R, H>
    where
        S: Service<Req> + Clone,
        O: Clone,
        R: Clone,
        H: Clone,
    {
        let LimitLayer { outcome, refusal, hold, .. } = &self.with;
        let with = (outcome.clone(), refusal.clone(), hold.clone());
        LimitFuture::admitted(permit, (self.inner.clone(), request), with)
    }
}

/// The worse of the limiter's own answer and the inner service's.
impl<S: AskReady, D, O, R, H> AskReady for Limit<S, D, O, R, H> {
    fn readiness(&self) -> Readiness {
        self.with.limiter.readiness().worst(self.inner.readiness())
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        self.with.limiter.readiness_for(demand).worst(self.inner.readiness_for(demand))
    }
}

impl<S, D, O, R, H, Req> Service<Req> for Limit<S, D, O, R, H>
where
    S: Service<Req> + Clone,
    D: DemandOf<Req>,
    O: OutcomeOf<S::Response, S::Error> + Clone,
    R: OnRefusal<H::Held, S::Error> + Clone,
    H: Hold<S::Response> + Clone,
{
    type Response = H::Held;
    type Error = R::Error;
    type Future = LimitFuture<S, Req, O, R, H>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let LimitLayer { limiter, demand, outcome, refusal, hold } = &self.with;
        let demand = demand.demand(&request);
        let deadline = demand.deadline;
        let admission = limiter.enqueue(demand);
        let with = (outcome.clone(), refusal.clone(), hold.clone());
        LimitFuture::new(admission, (self.inner.clone(), request), with, deadline)
    }
}
