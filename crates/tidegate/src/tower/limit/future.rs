//! [`LimitFuture`]: the wait, the work, the end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::limiter::{Admission, Permit, Ticket};
use crate::refused::Refused;
use crate::tower::hold::Hold;
use crate::tower::outcome::OutcomeOf;
use crate::tower::refusal::OnRefusal;

pin_project! {
    /// A call of [`Limit`](super::Limit).
    ///
    /// **Cancel safety:** as [`Limit`](super::Limit) describes. Polling it again after it resolved never
    /// resolves.
    #[must_use = "futures do nothing unless awaited"]
    pub struct LimitFuture<S, Req, O, R, H>
    where
        S: Service<Req>,
    {
        // The order is the order of dropping: the work ends before its permit goes back.
        #[pin]
        stage: Stage<S::Future>,
        work: Option<(S, Req)>,
        permit: Option<Permit>,
        deadline: Option<Instant>,
        outcome: O,
        refusal: R,
        hold: H,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F> {
        Refused { refused: Option<Refused> },
        Waiting { ticket: Ticket },
        /// The inner service is driven to readiness.
        Admitted,
        Running { #[pin] future: F },
        Done,
    }
}

impl<S: Service<Req>, Req, O, R, H> LimitFuture<S, Req, O, R, H> {
    #[inline]
    pub(super) fn new(
        admission: Result<Admission, Refused>,
        work: (S, Req),
        (outcome, refusal, hold): (O, R, H),
        deadline: Option<Instant>,
    ) -> Self {
        let (stage, permit) = match admission {
            Ok(Admission::Admitted(permit)) => (Stage::Admitted, Some(permit)),
            Ok(Admission::Waiting(ticket)) => (Stage::Waiting { ticket }, None),
            Err(refused) => (Stage::Refused { refused: Some(refused) }, None),
        };
        Self { stage, work: Some(work), permit, deadline, outcome, refusal, hold }
    }

    pub(super) fn admitted(permit: Permit, work: (S, Req), with: (O, R, H)) -> Self {
        Self::new(Ok(Admission::Admitted(permit)), work, with, None)
    }
}

impl<S, Req, O, R, H> Future for LimitFuture<S, Req, O, R, H>
where
    S: Service<Req>,
    O: OutcomeOf<S::Response, S::Error>,
    R: OnRefusal<H::Held, S::Error>,
    H: Hold<S::Response>,
{
    type Output = Result<H::Held, R::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.stage.as_mut().project() {
                StageProj::Admitted => {
                    // Together with the stage, so it is always there.
                    let Some((mut inner, request)) = this.work.take() else { return Poll::Pending };
                    match inner.poll_ready(cx) {
                        Poll::Ready(Ok(())) => {
                            let future = inner.call(request);
                            this.stage.set(Stage::Running { future });
                        }
                        Poll::Ready(Err(error)) => break Err(error),
                        Poll::Pending => {
                            *this.work = Some((inner, request));
                            return Poll::Pending;
                        }
                    }
                }
                StageProj::Running { future } => break ready!(future.poll(cx)),
                StageProj::Waiting { ticket } => match ready!(Pin::new(ticket).poll(cx)) {
                    Ok(permit) => {
                        *this.permit = Some(permit);
                        this.stage.set(Stage::Admitted);
                    }
                    Err(refused) => this.stage.set(Stage::Refused { refused: Some(refused) }),
                },
                StageProj::Refused { refused } => {
                    let Some(refused) = refused.take() else { return Poll::Pending };
                    this.stage.set(Stage::Done);
                    *this.work = None;
                    return Poll::Ready(this.refusal.refuse(refused));
                }
                StageProj::Done => return Poll::Pending,
            }
        };
        this.stage.set(Stage::Done);
        let outcome = this.outcome.outcome(result.as_ref());
        let Some(mut permit) = this.permit.take() else { return Poll::Pending };
        if this.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            permit.late();
        }
        Poll::Ready(match result {
            Ok(response) => Ok(this.hold.hold(response, permit, outcome)),
            Err(error) => {
                permit.finish(outcome);
                Err(R::pass_on(error))
            }
        })
    }
}

impl<S: Service<Req>, Req, O, R, H> fmt::Debug for LimitFuture<S, Req, O, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Refused { .. } => "refused",
            Stage::Waiting { .. } => "waiting",
            Stage::Admitted => "admitted",
            Stage::Running { .. } => "running",
            Stage::Done => "done",
        };
        f.debug_struct("LimitFuture").field("stage", &stage).finish_non_exhaustive()
    }
}
