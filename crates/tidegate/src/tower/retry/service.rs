//! [`Retry`]: attempts and pauses.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use crate::demand::Demand;
use crate::readiness::{AskReady, Readiness};
use crate::refused::{Reason, Refused};
use crate::tower::drive::Drive;
use crate::tower::pushback::Hear;
use crate::tower::refusal::BoxError;

use super::budget::Withdrawal;
use super::layer::RetryLayer;
use super::repeat::{Attempt, Repeat};

/// A client that asks again where that is safe and may help; made by [`RetryLayer`].
///
/// **When** a request was refused or failed ([`Hear`]), it is repeated if that is *safe* (it is idempotent, or the server
/// said that it did nothing of it), *wanted* (the server did not say that coming back would not help), *possible* (there is
/// a copy: [`Repeat::copy`]) and within the bounds: the number of attempts, the budget, and the caller's patience. Waiting
/// for the moment of a local refusal, of a [`Held`](crate::tower::Held) say, is free: the server was not asked. If one of
/// these is missing, the caller gets the answer **at once**, as it came: a 503 that says "in 40 s" is handed over now to a
/// caller with a patience of 15 s, with its moment in it.
///
/// **At which moment:** exactly the server's, where it named one. Else after a pause at random, so that clients which
/// failed together do not return together.
///
/// **Patience** counts for the call, over all attempts. A request whose time is over when it comes is not sent
/// ([`Reason::Deadline`]); an attempt that lasts beyond it is dropped ([`Reason::Expired`]). Both are errors, found by
/// [`Refused::find`].
///
/// `poll_ready` is ready always and asks nobody; the inner service is driven to readiness inside the call (decision 5).
/// **When cancelled:** the attempt is dropped, or the pause, which then takes nothing from the budget. An answer that is
/// not handed over is dropped before the pause. **Runtime:** needs one with a timer.
#[derive(Clone, Debug)]
pub struct Retry<S, P, H> {
    pub(super) inner: S,
    pub(super) with: RetryLayer<P, H>,
}

impl<S: AskReady, P, H> AskReady for Retry<S, P, H> {
    fn readiness(&self) -> Readiness {
        self.inner.readiness()
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        self.inner.readiness_for(demand)
    }
}

impl<S, P, H, Req> Service<Req> for Retry<S, P, H>
where
    S: Service<Req, Error: Into<BoxError>> + Clone,
    P: Repeat<Req> + Clone,
    H: Hear<S::Response, BoxError> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RetryFuture<S, Req, P, H>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = Instant::now();
        // A time too long to be a moment is as good as none: thirty years from now.
        let deadline =
            now.checked_add(self.with.patience).unwrap_or(now + Duration::from_secs(30 * 365 * 86_400));
        let deadline = self.with.repeat.deadline(&request).map_or(deadline, |own| own.min(deadline));
        let mut call = RetryFuture {
            stage: Stage::Late { reason: Reason::Deadline },
            alarm: tokio::time::sleep_until(deadline),
            call: Call {
                idempotent: self.with.repeat.is_idempotent(&request),
                inner: self.inner.clone(),
                with: self.with.clone(),
                copy: None,
                number: 1,
                deadline,
            },
        };
        // The clock again: a repeat that says "no time at all" has read it later than this call did.
        if deadline > Instant::now() {
            call.call.with.plan.budget.deposit();
            call.stage = Stage::Asking { attempt: call.call.attempt(request, false) };
        }
        call
    }
}

/// What stays the same over the attempts.
struct Call<S, Req, P, H> {
    inner: S,
    with: RetryLayer<P, H>,
    /// For the next attempt, if there can be one.
    copy: Option<Req>,
    idempotent: bool,
    /// Attempts so far, this one among them.
    number: u32,
    deadline: Instant,
}

impl<S, Req, P, H> Call<S, Req, P, H>
where
    S: Service<Req> + Clone,
    P: Repeat<Req>,
{
    fn attempt(&mut self, mut request: Req, invited: bool) -> Drive<S, Req> {
        let repeat = &self.with.repeat;
        self.copy = repeat.copy(&request);
        repeat.note(&mut request, &Attempt { number: self.number, invited, deadline: self.deadline });
        Drive::new(self.inner.clone(), request)
    }
}

pin_project! {
    /// A call of [`Retry`]. Polling it again after it resolved never resolves.
    #[must_use = "futures do nothing unless awaited"]
    pub struct RetryFuture<S, Req, P, H>
    where
        S: Service<Req>,
    {
        #[pin]
        stage: Stage<S, Req>,
        #[pin]
        alarm: Sleep,
        call: Call<S, Req, P, H>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, Req>
    where
        S: Service<Req>,
    {
        Asking { #[pin] attempt: Drive<S, Req> },
        Pausing { #[pin] pause: Sleep, withdrawal: Option<Withdrawal>, invited: bool },
        Late { reason: Reason },
        Done,
    }
}

impl<S, Req, P, H> Future for RetryFuture<S, Req, P, H>
where
    S: Service<Req, Error: Into<BoxError>> + Clone,
    P: Repeat<Req>,
    H: Hear<S::Response, BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let call = this.call;
        let result = loop {
            match this.stage.as_mut().project() {
                StageProj::Asking { attempt } => {
                    let result = match attempt.poll(cx) {
                        Poll::Ready(result) => result.map_err(Into::into),
                        Poll::Pending => {
                            ready!(this.alarm.as_mut().poll(cx));
                            // What works for nobody ends before anybody hears of it.
                            this.stage.set(Stage::Late { reason: Reason::Expired });
                            continue;
                        }
                    };
                    let heard = call.with.hear.hear(result.as_ref());
                    let again = call
                        .copy
                        .is_some()
                        .then(|| call.with.plan.again(&heard, call.idempotent, call.number, call.deadline))
                        .flatten();
                    let Some(again) = again else { break result };
                    let pause = tokio::time::sleep_until(again.at);
                    let (withdrawal, invited) = (again.withdrawal, again.invited);
                    this.stage.set(Stage::Pausing { pause, withdrawal, invited });
                }
                StageProj::Pausing { pause, withdrawal, invited } => {
                    ready!(pause.poll(cx));
                    if let Some(withdrawal) = withdrawal.take() {
                        withdrawal.spend();
                        call.number = call.number.saturating_add(1);
                    }
                    // Without a copy there is no pause.
                    let Some(request) = call.copy.take() else { return Poll::Pending };
                    let attempt = call.attempt(request, *invited);
                    this.stage.set(Stage::Asking { attempt });
                }
                StageProj::Late { reason } => {
                    let reason = *reason;
                    let limiter = Arc::clone(&call.with.name);
                    break Err(Box::new(Refused::new(reason, limiter).worth_it(false)) as BoxError);
                }
                StageProj::Done => return Poll::Pending,
            }
        };
        call.copy = None;
        this.stage.set(Stage::Done);
        Poll::Ready(result)
    }
}

impl<S: Service<Req>, Req, P, H> fmt::Debug for RetryFuture<S, Req, P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture").field("attempts", &self.call.number).finish_non_exhaustive()
    }
}
