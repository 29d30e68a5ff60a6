//! [`AssumeReady`]: vouches for a service that cannot be asked.

use std::task::{Context, Poll};

use tower_service::Service;

use crate::readiness::{AskReady, Readiness};

/// Answers "ready, with any amount of room" for a service that cannot be asked, so that a stack on top of it can:
/// what the layers around it know is then the whole answer.
///
/// ```
/// use tidegate::tower::{AssumeReady, LimitLayer};
/// use tidegate::{AskReady, Limiter, Readiness};
/// use tower_layer::Layer;
///
/// let service = tower::service_fn(|n: u32| async move { Ok::<u32, std::io::Error>(n) });
/// let service = LimitLayer::new(Limiter::fixed(3)).layer(AssumeReady(service));
/// assert_eq!(service.readiness(), Readiness::Ready { available: 3 });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AssumeReady<S>(pub S);

impl<S> AskReady for AssumeReady<S> {
    fn readiness(&self) -> Readiness {
        Readiness::Ready { available: u64::MAX }
    }
}

impl<S: Service<Req>, Req> Service<Req> for AssumeReady<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.0.call(request)
    }
}
