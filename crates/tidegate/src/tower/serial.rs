//! [`Serial`]: a service that cannot be cloned, lent to one call at a time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tower_service::Service;

use crate::demand::Demand;
use crate::readiness::{AskReady, Readiness, WaitEstimate};

/// Lends a service that cannot be cloned (`Balance`, `RateLimit`) to one call at a time, in the order of their
/// coming, until the service was ready and has been called; the answers are then awaited side by side.
///
/// `poll_ready` is ready always and takes nothing. **When full:** what waits for its turn is bounded by the limiter
/// above, for only [`LimitLayer::serial`](crate::tower::LimitLayer::serial) makes one. **When cancelled:** the turn passes on; a
/// service that had become ready stays so for the next call.
pub struct Serial<S> {
    inner: Arc<Mutex<S>>,
}

impl<S> Serial<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)) }
    }
}

impl<S> Clone for Serial<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S> fmt::Debug for Serial<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").finish_non_exhaustive()
    }
}

/// The inner service's answer; while a call has its turn at it, that a newcomer would wait for its own.
impl<S: AskReady> AskReady for Serial<S> {
    fn readiness(&self) -> Readiness {
        self.readiness_for(&Demand::ONE)
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        match self.inner.try_lock() {
            Ok(inner) => inner.readiness_for(demand),
            Err(_) => Readiness::Busy { ahead: 1, wait: WaitEstimate::default() },
        }
    }
}

impl<S: Service<Req> + Send + 'static, Req> Service<Req> for Serial<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = SerialFuture<S, Req>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> SerialFuture<S, Req> {
        let turn = match Arc::clone(&self.inner).try_lock_owned() {
            Ok(guard) => Turn::Had { guard },
            Err(_) => Turn::Awaited { lock: Box::pin(Arc::clone(&self.inner).lock_owned()) },
        };
        SerialFuture { turn, request: Some(request) }
    }
}

pin_project! {
    /// A call of [`Serial`]. Polling it again after it resolved never resolves.
    #[must_use = "futures do nothing unless awaited"]
    pub struct SerialFuture<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        turn: Turn<S, S::Future>,
        request: Option<Req>,
    }
}

type Lock<S> = Pin<Box<dyn Future<Output = OwnedMutexGuard<S>> + Send>>;

pin_project! {
    #[project = TurnProj]
    enum Turn<S, F> {
        Awaited { lock: Lock<S> },
        Had { guard: OwnedMutexGuard<S> },
        Running { #[pin] future: F },
        Done,
    }
}

impl<S: Service<Req>, Req> Future for SerialFuture<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.turn.as_mut().project() {
                TurnProj::Awaited { lock } => {
                    let guard = ready!(lock.as_mut().poll(cx));
                    this.turn.set(Turn::Had { guard });
                }
                TurnProj::Had { guard } => match ready!(guard.poll_ready(cx)) {
                    Ok(()) => {
                        let Some(request) = this.request.take() else { return Poll::Pending };
                        let future = guard.call(request);
                        this.turn.set(Turn::Running { future });
                    }
                    Err(error) => {
                        this.turn.set(Turn::Done);
                        return Poll::Ready(Err(error));
                    }
                },
                TurnProj::Running { future } => {
                    let result = ready!(future.poll(cx));
                    this.turn.set(Turn::Done);
                    return Poll::Ready(result);
                }
                TurnProj::Done => return Poll::Pending,
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for SerialFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialFuture").finish_non_exhaustive()
    }
}
