//! [`Held`]: the call.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::demand::Demand;
use crate::readiness::{AskReady, Readiness};
use crate::refused::Refused;
use crate::tower::drive::Drive;
use crate::tower::refusal::OnRefusal;

use super::heard::Hear;
use super::key::{KeyOf, OneForAll};
use super::layer::PushbackLayer;

/// A client that holds back when its server asked for it; made by [`PushbackLayer`].
///
/// What an answer says ([`Hear`]) is in force until the moment that it named, at most
/// [`longest`](PushbackLayer::longest): calls with the same key ([`KeyOf`]) then never reach the inner service and get
/// what [`OnRefusal`] makes of a [`Refused`] with the server's reason, as far as it is known, and the time that is left.
/// So that they do not come back together, each is told a moment of its own: the first the server's, the others up to a
/// fifth of the server's time later, none sooner. A refusal without a moment holds nobody back
/// ([`RestrainLayer`](crate::tower::RestrainLayer) learns from those), and neither does one by a layer further in, such as
/// a [`Limit`](crate::tower::Limit): its moment is for its caller.
///
/// `poll_ready` is ready always and asks nobody; the inner service is driven to readiness inside the call (decision 5).
/// **When cancelled:** the inner call is dropped; what was heard stays. **Runtime:** none is needed.
///
/// **Order.** Put a [`Retry`](crate::tower::Retry) around it, so that a call which is refused here may wait for its moment;
/// calls that come back at a moment of their own pass, where `KeyOf` can tell.
pub struct Held<S, H, K, Q, R> {
    pub(super) inner: S,
    pub(super) with: PushbackLayer<H, K, Q, R>,
}

impl<S: Clone, H: Clone, K: Clone, Q, R: Clone> Clone for Held<S, H, K, Q, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), with: self.with.clone() }
    }
}

impl<S, H, K, Q, R> fmt::Debug for Held<S, H, K, Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("with", &self.with).finish_non_exhaustive()
    }
}

/// Where there is one pushback for all, saturated while it is in force.
impl<S: AskReady, H, R> AskReady for Held<S, H, OneForAll, (), R> {
    fn readiness(&self) -> Readiness {
        self.readiness_for(&Demand::ONE)
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        match self.with.left(&()) {
            Some(left) => Readiness::Saturated { retry_after: Some(left) },
            None => self.inner.readiness_for(demand),
        }
    }
}

impl<S, H, K, R, Req> Service<Req> for Held<S, H, K, K::Key, R>
where
    S: Service<Req> + Clone,
    K: KeyOf<Req> + Clone,
    H: Hear<S::Response, R::Error> + Clone,
    R: OnRefusal<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = R::Error;
    type Future = HeldFuture<S, Req, H, K, K::Key, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let with = &self.with;
        let key = with.key.key(&request);
        let told = if with.forces.is_empty() || with.key.is_invited(&request) {
            None
        } else {
            with.forces.tell(&key, Instant::now())
        };
        let (work, refused) = match told {
            None => (Some(Drive::new(self.inner.clone(), request)), None),
            Some(told) => (
                None,
                Some(
                    Refused::new(told.reason, with.name.clone())
                        .after(Some(told.left))
                        .worth_it(told.worth_retrying),
                ),
            ),
        };
        HeldFuture { work, refused, key: Some(key), with: self.with.clone() }
    }
}

pin_project! {
    /// A call of [`Held`]. Polling it again after it resolved never resolves.
    #[must_use = "futures do nothing unless awaited"]
    pub struct HeldFuture<S, Req, H, K, Q, R>
    where
        S: Service<Req>,
    {
        #[pin]
        work: Option<Drive<S, Req>>,
        refused: Option<Refused>,
        key: Option<Q>,
        with: PushbackLayer<H, K, Q, R>,
    }
}

impl<S, Req, H, K, Q, R> Future for HeldFuture<S, Req, H, K, Q, R>
where
    S: Service<Req>,
    Q: Hash + Eq,
    H: Hear<S::Response, R::Error>,
    R: OnRefusal<S::Response, S::Error>,
{
    type Output = Result<S::Response, R::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(refused) = this.refused.take() {
            return Poll::Ready(this.with.refusal.refuse(refused));
        }
        let Some(work) = this.work.as_mut().as_pin_mut() else { return Poll::Pending };
        let result = ready!(work.poll(cx)).map_err(R::pass_on);
        this.work.set(None);
        let with = this.with;
        let heard = with.hear.hear(result.as_ref());
        if let (Some(key), false) = (this.key.take(), heard.is_local()) {
            with.forces.note(key, &heard, with.longest, with.most, Instant::now());
        }
        Poll::Ready(result)
    }
}

impl<S: Service<Req>, Req, H, K, Q, R> fmt::Debug for HeldFuture<S, Req, H, K, Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldFuture").field("refused", &self.refused).finish_non_exhaustive()
    }
}
