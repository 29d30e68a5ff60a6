//! [`Drive`]: a service driven to readiness inside the call.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// Waits until its service is ready, and calls it. What the service takes when asked, it takes for this call only
    /// (decision 5); dropped, it gives it back with the service. Polling it again after it resolved never resolves.
    pub(super) struct Drive<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        stage: Stage<S, Req, S::Future>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, Req, F> {
        Asking { service: S, request: Option<Req> },
        Running { #[pin] future: F },
        Done,
    }
}

impl<S: Service<Req>, Req> Drive<S, Req> {
    pub(super) fn new(service: S, request: Req) -> Self {
        Self { stage: Stage::Asking { service, request: Some(request) } }
    }
}

impl<S: Service<Req>, Req> Future for Drive<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        let result = loop {
            match stage.as_mut().project() {
                StageProj::Asking { service, request } => match ready!(service.poll_ready(cx)) {
                    Ok(()) => {
                        let Some(request) = request.take() else { return Poll::Pending };
                        let future = service.call(request);
                        stage.set(Stage::Running { future });
                    }
                    Err(error) => break Err(error),
                },
                StageProj::Running { future } => break ready!(future.poll(cx)),
                StageProj::Done => return Poll::Pending,
            }
        };
        stage.set(Stage::Done);
        Poll::Ready(result)
    }
}
