//! [`Restrain`]: the call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::demand::Demand;
use crate::readiness::{AskReady, Readiness};
use crate::refused::{Reason, Refused};
use crate::tower::drive::Drive;
use crate::tower::pushback::Hear;
use crate::tower::refusal::OnRefusal;

use super::layer::RestrainLayer;

/// A client that asks less of a server which refuses most of it; made by [`RestrainLayer`].
///
/// Refusing costs a server too, and clients that keep asking can hold it at its knees with refusals alone. So a client
/// refuses a share of its calls itself: max(0, (requests − K × accepts) / (requests + 1)) over the last two minutes, K = 2
/// (Beyer et al., "Site Reliability Engineering", ch. 21). Accepted is what the server answered, well or badly
/// ([`Pushback::is_accepted`](crate::tower::Pushback::is_accepted)). Three things differ from the book. Fewer than ten calls are no share
/// of anything. A call is entered
/// when its answer is there, not when it begins: else a hundred calls at once to a slow server that is well would look like
/// a hundred refusals. And one call a second goes through in any case, so that a server which comes back is noticed then.
/// Trust returns more slowly: after a failure as long as the window, calls grow e-fold in half of it (one minute), as in the
/// book; a shorter [`window`](RestrainLayer::window) forgets sooner.
///
/// A call that is refused here gets what [`OnRefusal`] makes of a [`Refused`] ([`Reason::QueueFull`]; not worth retrying,
/// since asking again is what is to be avoided). Calls that were cancelled, or refused by a layer further in, do not count.
///
/// An attempt that lasted beyond its deadline
/// does.
///
/// **Order.** Put it around a [`Retry`](crate::tower::Retry), not inside: what the server itself asked back is not to be
/// refused here, and a retry has a budget of its own.
///
/// `poll_ready` is ready always and asks nobody; the inner service is driven to readiness inside the call (decision 5).
/// **When cancelled:** the inner call is dropped, and nothing is entered. **Runtime:** none is needed.
#[derive(Clone, Debug)]
pub struct Restrain<S, H, R> {
    pub(super) inner: S,
    pub(super) with: RestrainLayer<H, R>,
}

impl<S: AskReady, H, R> AskReady for Restrain<S, H, R> {
    fn readiness(&self) -> Readiness {
        self.inner.readiness()
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        self.inner.readiness_for(demand)
    }
}

impl<S, H, R, Req> Service<Req> for Restrain<S, H, R>
where
    S: Service<Req> + Clone,
    H: Hear<S::Response, R::Error> + Clone,
    R: OnRefusal<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = R::Error;
    type Future = RestrainFuture<S, Req, H, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let work = self.with.passes().then(|| Drive::new(self.inner.clone(), request));
        let stage = match work {
            Some(work) => Stage::Asking { work },
            None => Stage::Refused,
        };
        RestrainFuture { stage, with: self.with.clone() }
    }
}

pin_project! {
    /// A call of [`Restrain`]. Polling it again after it resolved never resolves.
    #[must_use = "futures do nothing unless awaited"]
    pub struct RestrainFuture<S, Req, H, R>
    where
        S: Service<Req>,
    {
        #[pin]
        stage: Stage<S, Req>,
        with: RestrainLayer<H, R>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, Req>
    where
        S: Service<Req>,
    {
        Asking { #[pin] work: Drive<S, Req> },
        Refused,
        Done,
    }
}

impl<S, Req, H, R> Future for RestrainFuture<S, Req, H, R>
where
    S: Service<Req>,
    H: Hear<S::Response, R::Error>,
    R: OnRefusal<S::Response, S::Error>,
{
    type Output = Result<S::Response, R::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = match this.stage.as_mut().project() {
            StageProj::Asking { work } => {
                let result = ready!(work.poll(cx)).map_err(R::pass_on);
                let heard = this.with.hear.hear(result.as_ref());
                if !heard.is_local() || !heard.is_unprocessed() {
                    this.with.with_ledger(|ledger, now| ledger.add(now, heard.is_accepted()));
                }
                result
            }
            StageProj::Refused => {
                let refused = Refused::new(Reason::QueueFull, Arc::clone(&this.with.name));
                this.with.refusal.refuse(refused.worth_it(false))
            }
            StageProj::Done => return Poll::Pending,
        };
        this.stage.set(Stage::Done);
        Poll::Ready(result)
    }
}

impl<S: Service<Req>, Req, H, R> fmt::Debug for RestrainFuture<S, Req, H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestrainFuture").finish_non_exhaustive()
    }
}
