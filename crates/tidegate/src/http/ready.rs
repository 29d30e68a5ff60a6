//! [`ready_endpoint`]: 200 or 503 for several parts of a program.

use std::convert::Infallible;
use std::fmt::{self, Write};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use tower_service::Service;

use crate::readiness::{AskReady, Readiness};

use super::json::Quoted;

type Part = (&'static str, Arc<dyn AskReady + Send + Sync>);

/// Answers whether the program would take a request now, part by part, as JSON: 503 when one of them drains, else
/// 200. Saturation alone is not an error of this replica: if every replica left for it, none would be there.
///
/// Asking reserves nothing, waits for nothing, and takes no permit: it is answered while everything is full.
///
/// ```
/// use std::sync::Arc;
/// use tidegate::Limiter;
/// use tidegate::http::ready_endpoint;
///
/// let (requests, pool) = (Limiter::fixed(100), Limiter::fixed(10));
/// let endpoint = ready_endpoint([("requests", Arc::new(requests) as _), ("pool", Arc::new(pool.clone()) as _)]);
/// assert_eq!(endpoint.answer().status(), 200);
/// let _drained = pool.drain();
/// assert_eq!(endpoint.answer().status(), 503);
/// assert_eq!(
///     endpoint.answer().body(),
///     r#"{"ready":false,"parts":{"requests":{"state":"ready","available":100},"pool":{"state":"draining"}}}"#,
/// );
/// // With axum: Router::new().route_service("/ready", endpoint)
/// ```
pub fn ready_endpoint(parts: impl IntoIterator<Item = Part>) -> ReadyEndpoint {
    ReadyEndpoint { parts: parts.into_iter().collect(), when_saturated: false }
}

/// A service that answers for several parts; made by [`ready_endpoint`].
#[derive(Clone)]
pub struct ReadyEndpoint {
    parts: Arc<[Part]>,
    when_saturated: bool,
}

impl ReadyEndpoint {
    /// 503 also while a part is saturated: for a load balancer that then sends its requests to others.
    #[must_use]
    pub fn unready_when_saturated(mut self) -> Self {
        self.when_saturated = true;
        self
    }

    /// The answer of this moment.
    #[must_use]
    pub fn answer(&self) -> Response<String> {
        let mut parts = String::new();
        let (mut ready, mut after) = (true, None::<Duration>);
        for (name, part) in &*self.parts {
            let readiness = part.readiness();
            ready &= match readiness {
                Readiness::Draining { .. } => false,
                Readiness::Saturated { .. } => !self.when_saturated,
                _ => true,
            };
            after = after.max(readiness.retry_after());
            let comma = if parts.is_empty() { "" } else { "," };
            // Writing to a String does not fail.
            let _ = write!(parts, "{comma}{}:{}", Quoted(name), Shown(readiness));
        }
        let mut response = Response::new(format!(r#"{{"ready":{ready},"parts":{{{parts}}}}}"#));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !ready {
            if let Some(after) = after {
                let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }
}

/// A readiness as JSON.
struct Shown(Readiness);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |f: &mut fmt::Formatter<'_>, after: Option<Duration>| match after {
            Some(after) => write!(f, r#","retry_after_ms":{}}}"#, after.as_millis()),
            None => f.write_char('}'),
        };
        match self.0 {
            Readiness::Ready { available } => write!(f, r#"{{"state":"ready","available":{available}}}"#),
            Readiness::Busy { ahead, wait } => {
                let wait = wait.expected.as_millis();
                write!(f, r#"{{"state":"busy","ahead":{ahead},"expected_wait_ms":{wait}}}"#)
            }
            Readiness::Saturated { retry_after } => {
                f.write_str(r#"{"state":"saturated""#)?;
                after(f, retry_after)
            }
            Readiness::Draining { retry_after } => {
                f.write_str(r#"{"state":"draining""#)?;
                after(f, retry_after)
            }
        }
    }
}

impl<B> Service<Request<B>> for ReadyEndpoint {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(self.answer()))
    }
}

impl fmt::Debug for ReadyEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(name, part)| (name, part.readiness()))).finish()
    }
}
