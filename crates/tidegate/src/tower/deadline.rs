//! [`DeadlineLayer`]: nobody works for an answer that comes too late.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_layer::Layer;
use tower_service::Service;

use crate::demand::Demand;
use crate::readiness::{AskReady, Readiness};
use crate::refused::{Reason, Refused};

use super::refusal::{AsError, OnRefusal};

/// Reads how long a request's client waits. A closure `Fn(&Req) -> Option<Duration>` does.
pub trait DeadlineOf<Req> {
    /// The time that is left for an answer; `None` if the request does not say.
    fn time_left(&self, request: &Req) -> Option<Duration>;

    /// Leaves the deadline in the request, for what lies behind. Does nothing by itself.
    fn note(&self, request: &mut Req, deadline: Instant) {
        let _ = (request, deadline);
    }
}

impl<Req, F: Fn(&Req) -> Option<Duration>> DeadlineOf<Req> for F {
    fn time_left(&self, request: &Req) -> Option<Duration> {
        self(request)
    }
}

/// No request says how long its client waits. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsaid;

impl<Req> DeadlineOf<Req> for Unsaid {
    fn time_left(&self, _: &Req) -> Option<Duration> {
        None
    }
}

/// Gives every request a deadline and ends its work when that has passed: see [`Deadlined`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::time::Duration;
/// use tidegate::tower::{BoxError, DeadlineLayer};
/// use tidegate::{Reason, Refused};
/// use tower::{Layer, ServiceExt};
///
/// let service = DeadlineLayer::new(Duration::from_secs(2)).layer(tower::service_fn(|seconds: u64| async move {
///     tokio::time::sleep(Duration::from_secs(seconds)).await;
///     Ok::<u64, BoxError>(seconds)
/// }));
/// assert_eq!(service.clone().oneshot(1).await.unwrap(), 1);
/// let error = service.oneshot(3).await.unwrap_err();
/// assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::Expired);
/// # });
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct DeadlineLayer<D = Unsaid, R = AsError> {
    longest: Duration,
    time_left: D,
    refusal: R,
    name: Arc<str>,
}

impl DeadlineLayer {
    /// No request may take longer than `longest`, whatever it says.
    pub fn new(longest: Duration) -> Self {
        Self { longest, time_left: Unsaid, refusal: AsError, name: "deadline".into() }
    }
}

impl<D, R> DeadlineLayer<D, R> {
    /// How long a request's client waits ([`DeadlineOf`]).
    pub fn time_left<D2>(self, time_left: D2) -> DeadlineLayer<D2, R> {
        let Self { longest, refusal, name, .. } = self;
        DeadlineLayer { longest, time_left, refusal, name }
    }

    /// What becomes of a request whose time is over ([`OnRefusal`]).
    pub fn on_refusal<R2>(self, refusal: R2) -> DeadlineLayer<D, R2> {
        let Self { longest, time_left, name, .. } = self;
        DeadlineLayer { longest, time_left, refusal, name }
    }
}

impl<S, D: Clone, R: Clone> Layer<S> for DeadlineLayer<D, R> {
    type Service = Deadlined<S, D, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadlined { inner, with: self.clone() }
    }
}

/// A service whose requests have a deadline; made by [`DeadlineLayer`].
///
/// A request whose time is over when it comes never reaches the inner service
/// ([`Reason::Deadline`]); one whose time ends later is dropped there and then ([`Reason::Expired`]). Needs a
/// runtime with a timer. **When full or cancelled** it does what the inner service does; `poll_ready` is the inner
/// service's. Put it outside of a [`Limit`](super::Limit), so that the time in the queue counts.
#[derive(Clone, Debug)]
pub struct Deadlined<S, D = Unsaid, R = AsError> {
    inner: S,
    with: DeadlineLayer<D, R>,
}

impl<S: AskReady, D, R> AskReady for Deadlined<S, D, R> {
    fn readiness(&self) -> Readiness {
        self.inner.readiness()
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        self.inner.readiness_for(demand)
    }
}

impl<S, D, R, Req> Service<Req> for Deadlined<S, D, R>
where
    S: Service<Req>,
    D: DeadlineOf<Req>,
    R: OnRefusal<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = R::Error;
    type Future = DeadlineFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.inner.poll_ready(cx).map_err(R::pass_on)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let with = &self.with;
        let left = with.time_left.time_left(&request).unwrap_or(with.longest).min(with.longest);
        let work = if left.is_zero() {
            None
        } else {
            let now = Instant::now();
            // A time too long to be a moment is as good as none: thirty years from now.
            let at = now.checked_add(left).unwrap_or(now + Duration::from_secs(30 * 365 * 86_400));
            with.time_left.note(&mut request, at);
            Some((self.inner.call(request), tokio::time::sleep_until(at)))
        };
        let (future, alarm) = work.unzip();
        DeadlineFuture { future, alarm, refusal: with.refusal.clone(), name: Arc::clone(&with.name) }
    }
}

pin_project! {
    /// A call of [`Deadlined`]. Polling it again after it resolved repeats the refusal, or as the inner future has it.
    #[must_use = "futures do nothing unless awaited"]
    pub struct DeadlineFuture<F, R> {
        #[pin]
        future: Option<F>,
        #[pin]
        alarm: Option<Sleep>,
        refusal: R,
        name: Arc<str>,
    }
}

impl<F, R, Rsp, E> Future for DeadlineFuture<F, R>
where
    F: Future<Output = Result<Rsp, E>>,
    R: OnRefusal<Rsp, E>,
{
    type Output = Result<Rsp, R::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut reason = Reason::Deadline;
        if let (Some(future), Some(alarm)) = (this.future.as_mut().as_pin_mut(), this.alarm.as_pin_mut()) {
            if let Poll::Ready(result) = future.poll(cx) {
                return Poll::Ready(result.map_err(R::pass_on));
            }
            if alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            reason = Reason::Expired;
        }
        // What works for nobody ends before anybody hears of it.
        this.future.set(None);
        let limiter = Arc::clone(this.name);
        let refused = Refused::new(reason, limiter).worth_it(false);
        Poll::Ready(this.refusal.refuse(refused))
    }
}

impl<F, R> fmt::Debug for DeadlineFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineFuture").field("begun", &self.future.is_some()).finish_non_exhaustive()
    }
}
