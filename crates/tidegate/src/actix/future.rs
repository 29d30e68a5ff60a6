//! [`LimitFuture`]: the wait, the work, the end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::{Error, HttpResponse};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::limiter::{Admission, Permit, Ticket};
use crate::refused::Refused;
use crate::tower::{Hold, OnRefusal, OutcomeOf};

use super::limit::Limit;
use super::ready::{ReadyService, Waits};

pin_project! {
    /// A call of [`LimitService`](super::LimitService). **When full**, it waits in the limiter's queue or answers
    /// the refusal at once.
    ///
    /// **Cancel safety:** as [`Limit`] describes. Polling it again after it resolved never resolves.
    #[must_use = "futures do nothing unless awaited"]
    pub struct LimitFuture<S, D, O, R, H>
    where
        S: Service<ServiceRequest>,
    {
        // The order is the order of dropping: the work ends before its permit goes back.
        #[pin]
        stage: Stage<S::Future>,
        work: Option<(Rc<ReadyService<S>>, ServiceRequest)>,
        waits: Option<Waits>,
        permit: Option<Permit>,
        deadline: Option<Instant>,
        with: Rc<Limit<D, O, R, H>>,
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

impl<S: Service<ServiceRequest>, D, O, R, H> LimitFuture<S, D, O, R, H> {
    pub(super) fn new(
        admission: Result<Admission, Refused>,
        work: (Rc<ReadyService<S>>, ServiceRequest),
        with: Rc<Limit<D, O, R, H>>,
        deadline: Option<Instant>,
    ) -> Self {
        let (stage, permit) = match admission {
            Ok(Admission::Admitted(permit)) => (Stage::Admitted, Some(permit)),
            Ok(Admission::Waiting(ticket)) => (Stage::Waiting { ticket }, None),
            Err(refused) => (Stage::Refused { refused: Some(refused) }, None),
        };
        Self { stage, work: Some(work), waits: None, permit, deadline, with }
    }
}

impl<S, B, C, D, O, R, H> Future for LimitFuture<S, D, O, R, H>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    C: MessageBody,
    O: OutcomeOf<ServiceResponse<B>, Error>,
    R: OnRefusal<HttpResponse, Error, Error = Error>,
    H: Hold<ServiceResponse<B>, Held = ServiceResponse<C>>,
{
    type Output = Result<ServiceResponse<EitherBody<C>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.stage.as_mut().project() {
                StageProj::Admitted => {
                    // Together with the stage, so it is always there.
                    let Some((inner, request)) = this.work.take() else { return Poll::Pending };
                    match inner.poll_ready(this.waits, cx) {
                        Poll::Ready(Ok(())) => {
                            let future = inner.inner.call(request);
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
                    let Some((_, request)) = this.work.take() else { return Poll::Pending };
                    this.stage.set(Stage::Done);
                    let answer = this.with.refusal.refuse(refused);
                    return Poll::Ready(
                        answer.map(|answer| request.into_response(answer).map_into_right_body()),
                    );
                }
                StageProj::Done => return Poll::Pending,
            }
        };
        this.stage.set(Stage::Done);
        let outcome = this.with.outcome.outcome(result.as_ref());
        let Some(mut permit) = this.permit.take() else { return Poll::Pending };
        if this.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            permit.late();
        }
        Poll::Ready(match result {
            Ok(response) => Ok(this.with.hold.hold(response, permit, outcome).map_into_left_body()),
            Err(error) => {
                permit.finish(outcome);
                Err(R::pass_on(error))
            }
        })
    }
}

impl<S: Service<ServiceRequest>, D, O, R, H> fmt::Debug for LimitFuture<S, D, O, R, H> {
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
