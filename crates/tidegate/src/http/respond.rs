//! [`RespondWith`]: a refusal becomes a response.

use std::marker::PhantomData;

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::refused::Refused;
use crate::tower::OnRefusal;

use super::problem::Problem;

/// Refusals as HTTP responses; the service's error type stays what it was, so axum needs no `HandleErrorLayer`.
///
/// All carry `Cache-Control: no-store` and, where a later moment may help, `Retry-After` in whole seconds, rounded
/// up: the limiter's answer, this caller's own. The type parameter says what the body must be able to hold.
///
/// ```
/// use http::{Request, Response};
/// use tidegate::http::RespondWith;
/// use tidegate::tower::LimitLayer;
/// use tidegate::{Limiter, QueueConfig};
/// use tower::{Layer, ServiceExt};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let limiter = Limiter::builder().limit(1).queue(QueueConfig::none()).build().unwrap();
/// let service = LimitLayer::new(limiter.clone())
///     .on_refusal(RespondWith::service_unavailable())
///     .layer(tower::service_fn(|_: Request<()>| async { Ok::<_, std::convert::Infallible>(Response::new(())) }));
///
/// let _held = limiter.try_acquire(1).unwrap();
/// let response = service.oneshot(Request::new(())).await.unwrap();
/// assert_eq!(response.status(), 503);
/// assert!(response.headers().contains_key("retry-after"));
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RespondWith<K = NoBody> {
    status: Option<StatusCode>,
    kind: PhantomData<K>,
}

/// [`RespondWith`] an empty body: any that is `Default`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct NoBody;

/// [`RespondWith`] a problem body: any that is `From<Bytes>`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ProblemJson;

/// [`RespondWith`] a gRPC status, without a body: any that is `Default`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Grpc;

impl RespondWith {
    /// 503, or 429 where the tenant's own share is the reason.
    #[must_use]
    pub const fn service_unavailable() -> Self {
        Self { status: None, kind: PhantomData }
    }

    /// 429 always: for a limiter that belongs to one client.
    #[must_use]
    pub const fn too_many_requests() -> Self {
        Self { status: Some(StatusCode::TOO_MANY_REQUESTS), kind: PhantomData }
    }

    /// With a body of `application/problem+json` (RFC 9457) that has the reason, and the moment in milliseconds.
    #[must_use]
    pub const fn problem_json(self) -> RespondWith<ProblemJson> {
        RespondWith { status: self.status, kind: PhantomData }
    }
}

impl RespondWith<Grpc> {
    /// A gRPC answer of trailers only: `UNAVAILABLE`, or `RESOURCE_EXHAUSTED` where the tenant's own share is the
    /// reason, with `grpc-retry-pushback-ms` (gRFC A6), negative where a retry is not worth it.
    #[must_use]
    pub const fn grpc() -> Self {
        Self { status: None, kind: PhantomData }
    }
}

impl<K> RespondWith<K> {
    fn problem(&self, refused: &Refused) -> Problem {
        let mut problem = Problem::of(refused);
        problem.status = self.status.unwrap_or(problem.status);
        problem
    }
}

impl<B: Default, E> OnRefusal<Response<B>, E> for RespondWith<NoBody> {
    type Error = E;

    fn refuse(&self, refused: Refused) -> Result<Response<B>, E> {
        Ok(self.problem(&refused).answer(B::default()))
    }

    fn pass_on(error: E) -> E {
        error
    }
}

impl<B: From<Bytes>, E> OnRefusal<Response<B>, E> for RespondWith<ProblemJson> {
    type Error = E;

    fn refuse(&self, refused: Refused) -> Result<Response<B>, E> {
        Ok(self.problem(&refused).answer_json())
    }

    fn pass_on(error: E) -> E {
        error
    }
}

impl<B: Default, E> OnRefusal<Response<B>, E> for RespondWith<Grpc> {
    type Error = E;

    fn refuse(&self, refused: Refused) -> Result<Response<B>, E> {
        Ok(self.problem(&refused).answer_grpc())
    }

    fn pass_on(error: E) -> E {
        error
    }
}
