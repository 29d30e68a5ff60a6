//! [`HearHttp`], [`pushback`]: what a response, or an error, says.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Response, StatusCode};

use crate::refused::{Reason, chain};
use crate::tower::{BoxError, Hear, Pushback, means_unprocessed};

use super::LONGEST;
use super::problem::{Said, is_problem, said};
use super::rate_limit::rate_limit;
use super::retry_after::retry_after;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// What a response says about load and about coming back; `body` is its body as far as it is at hand, else empty.
///
/// | Said | Heard |
/// |---|---|
/// | 503, 429 | refused; the moment in `Retry-After` ([`retry_after`]), else in `RateLimit` |
/// | 502, 504 | failed, and nobody knows how far it came |
/// | `RateLimit` with nothing left ([`rate_limit`]), on any answer | a moment for the next request |
/// | a problem body (RFC 9457) of a 503 or 429 | `retry_after_ms` (finer than the header, and counts instead of it), `worth_retrying`; Tidegate's own types have the reason, most of which mean that nothing was done of the request |
/// | `grpc-status` in the head | 14 (`UNAVAILABLE`), 8 (`RESOURCE_EXHAUSTED`): refused |
/// | `grpc-retry-pushback-ms` beside it (gRFC A6) | the moment, 0 too, and that it is safe to come back; negative, or not a number: do not |
///
/// Everything else was accepted, 500 as well: it says nothing about load, and would be 500 once more.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue, StatusCode};
/// use tidegate::http::pushback;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("retry-after", HeaderValue::from_static("3"));
/// assert_eq!(pushback(StatusCode::SERVICE_UNAVAILABLE, &headers, b"").moment(), Some(Duration::from_secs(3)));
/// headers.insert("content-type", HeaderValue::from_static("application/problem+json"));
/// let body = br#"{"type":"urn:tidegate:refused:queue_full","retry_after_ms":2134,"worth_retrying":true}"#;
/// let heard = pushback(StatusCode::SERVICE_UNAVAILABLE, &headers, body);
/// assert_eq!((heard.moment(), heard.is_unprocessed()), (Some(Duration::from_millis(2134)), true));
/// ```
#[must_use]
pub fn pushback(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Pushback {
    if let Some(code) = headers.get(GRPC_STATUS) {
        return of_grpc(code.as_bytes(), headers);
    }
    let heard = match status {
        StatusCode::SERVICE_UNAVAILABLE => Pushback::refused(Reason::QueueFull),
        StatusCode::TOO_MANY_REQUESTS => Pushback::refused(Reason::TenantShare),
        StatusCode::BAD_GATEWAY => return Pushback::refused(Reason::OriginDown),
        StatusCode::GATEWAY_TIMEOUT => return Pushback::refused(Reason::OriginTimeout),
        _ => return with_moment(Pushback::NONE, rate_limit(headers)),
    };
    let Said { reason, moment, worth_retrying } =
        if is_problem(headers) { said(body) } else { Said::default() };
    let mut heard = reason.map_or(heard, Pushback::refused);
    if reason.is_some_and(means_unprocessed) {
        heard = heard.unprocessed();
    }
    if worth_retrying == Some(false) {
        heard = heard.futile();
    }
    with_moment(heard, moment.or_else(|| retry_after(headers)).or_else(|| rate_limit(headers)))
}

const fn with_moment(heard: Pushback, moment: Option<Duration>) -> Pushback {
    match moment {
        Some(moment) => heard.after(moment),
        None => heard,
    }
}

fn of_grpc(code: &[u8], headers: &HeaderMap) -> Pushback {
    let heard = match code {
        b"0" => return with_moment(Pushback::NONE, rate_limit(headers)),
        b"14" => Pushback::refused(Reason::QueueFull),
        b"8" => Pushback::refused(Reason::TenantShare),
        _ if headers.contains_key(GRPC_PUSHBACK) => Pushback::refused(Reason::OriginDown),
        _ => return Pushback::NONE,
    };
    let Some(pushback) = headers.get(GRPC_PUSHBACK) else { return heard };
    // A signed number of 32 bits, says gRFC A6.
    match pushback.to_str().ok().and_then(|text| text.parse::<i32>().ok()).map(u64::try_from) {
        Some(Ok(millis)) => heard.after(Duration::from_millis(millis).min(LONGEST)).unprocessed(),
        _ => heard.futile(),
    }
}

/// Hears what HTTP responses and clients' errors say: see [`pushback`] and [`Pushback::of_error`].
///
/// Of a problem body it hears what a [`HearBodyLayer`](super::HearBodyLayer) further in has read.
///
/// ```
/// use tidegate::http::HearHttp;
///
/// // An HTTP/2 server that resets a stream with REFUSED_STREAM has done nothing of it (RFC 9113 §8.7); neither has
/// // one that could not be reached.
/// let hear = HearHttp::new().unprocessed_if(|error| {
///     let refused = |error: &h2::Error| error.reason() == Some(h2::Reason::REFUSED_STREAM);
///     error.downcast_ref::<h2::Error>().is_some_and(refused)
///         || error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
/// });
/// ```
#[derive(Clone, Copy, Default)]
pub struct HearHttp {
    unprocessed: Option<fn(&(dyn Error + 'static)) -> bool>,
}

impl HearHttp {
    /// Takes no error for a sign that nothing was done of a request, unless it is a [`Refused`](crate::Refused).
    #[must_use]
    pub const fn new() -> Self {
        Self { unprocessed: None }
    }

    /// Which errors say that nothing was done of the request. Asked for the error and its sources, one by one.
    #[must_use]
    pub const fn unprocessed_if(mut self, unprocessed: fn(&(dyn Error + 'static)) -> bool) -> Self {
        self.unprocessed = Some(unprocessed);
        self
    }
}

impl<B> Hear<Response<B>, BoxError> for HearHttp {
    fn hear(&self, result: Result<&Response<B>, &BoxError>) -> Pushback {
        match result {
            Ok(response) => match response.extensions().get() {
                Some(heard) => *heard,
                None => pushback(response.status(), response.headers(), b""),
            },
            Err(error) => {
                let heard = Pushback::of_error(&**error);
                let says = |unprocessed: fn(&(dyn Error + 'static)) -> bool| chain(&**error).any(unprocessed);
                if self.unprocessed.is_some_and(says) { heard.unprocessed() } else { heard }
            }
        }
    }
}

impl fmt::Debug for HearHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HearHttp").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::{Problem, RespondWith};
    use crate::refused::Refused;
    use crate::tower::OnRefusal;

    fn of(status: u16, fields: &[(&'static str, &'static str)], body: &str) -> Pushback {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        pushback(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn the_table_holds() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let heard = of(503, &[("retry-after", "3"), ("ratelimit", r#""a";r=0;t=9"#)], "");
        assert_eq!(
            heard,
            Pushback::refused(Reason::QueueFull).after(Duration::from_secs(3)),
            "the draft's order"
        );
        assert_eq!(of(429, &[("ratelimit", r#""a";r=0;t=9"#)], "").moment(), seconds(9));
        assert_eq!(
            of(429, &[("retry-after", "soon"), ("ratelimit", r#""a";r=0;t=9"#)], "").moment(),
            seconds(9)
        );
        let next = of(200, &[("ratelimit", r#""a";r=0;t=9"#)], "");
        assert!(next.is_accepted() && next.moment() == seconds(9));
        for status in [200, 202, 301, 404, 413, 500] {
            assert_eq!(
                of(status, &[("retry-after", "3")], ""),
                Pushback::NONE,
                "{status} says it of something else"
            );
        }
        for status in [502, 504] {
            assert!(!of(status, &[], "").is_accepted() && !of(status, &[], "").is_unprocessed(), "{status}");
        }
        let problem = ("content-type", "application/problem+json; charset=utf-8");
        let futile = r#"{"worth_retrying":false,"retry_after_ms":40000}"#;
        assert!(!of(503, &[problem, ("retry-after", "40")], futile).worth_retrying());
        assert!(of(503, &[("retry-after", "40")], futile).worth_retrying(), "not a problem body");
        let expired = r#"{"type":"urn:tidegate:refused:expired","retry_after_ms":100}"#;
        assert!(!of(503, &[problem], expired).is_unprocessed(), "a deadline may also end work that began");
        assert!(!of(502, &[problem], r#"{"type":"urn:tidegate:refused:origin_down"}"#).is_unprocessed());
    }

    #[test]
    fn grpc_is_heard() {
        let grpc =
            |code, pushback| of(200, &[("grpc-status", code), ("grpc-retry-pushback-ms", pushback)], "");
        assert_eq!(
            grpc("14", "250"),
            Pushback::refused(Reason::QueueFull).after(Duration::from_millis(250)).unprocessed()
        );
        assert_eq!(grpc("8", "0").moment(), Some(Duration::ZERO));
        assert!(grpc("4", "10").is_unprocessed());
        for pushback in ["-1", "-2147483648", "2147483648", "soon", "", "1.5"] {
            assert!(!grpc("14", pushback).worth_retrying(), "{pushback:?}");
        }
        assert_eq!(of(200, &[("grpc-status", "0")], ""), Pushback::NONE);
        assert_eq!(of(200, &[("grpc-status", "5")], ""), Pushback::NONE);
        assert!(!of(200, &[("grpc-status", "14")], "").is_unprocessed());
        assert_eq!(grpc("14", "2147483647").moment(), Some(LONGEST));
    }

    /// What our own server half says, ours hears.
    #[test]
    fn both_halves_agree() {
        for reason in Reason::ALL {
            for after in [None, Some(Duration::from_millis(1500)), Some(Duration::from_secs(40))] {
                let worth_retrying = after.is_none_or(|after| after < Duration::from_secs(30));
                let refused = Refused::new(reason, "db".into()).after(after).worth_it(worth_retrying);
                let problem = Problem::of(&refused);
                let answer: Result<Response<bytes::Bytes>, ()> =
                    RespondWith::service_unavailable().problem_json().refuse(refused.clone());
                let answer = answer.unwrap();
                let heard = pushback(answer.status(), answer.headers(), answer.body());
                assert_eq!(heard.reason(), Some(reason));
                assert_eq!(heard.worth_retrying(), problem.worth_retrying);
                assert_eq!(heard.is_unprocessed(), means_unprocessed(reason));
                // Where the limiter gave no moment, each answer gets another one.
                assert_eq!(heard.moment().is_some(), problem.retry_after.is_some());
                assert!(after.is_none() || heard.moment() == after);
                let answer: Result<Response<()>, ()> = RespondWith::grpc().refuse(refused);
                let answer = answer.unwrap();
                let heard = pushback(answer.status(), answer.headers(), b"");
                assert_eq!(heard.worth_retrying(), problem.worth_retrying && problem.retry_after.is_some());
            }
        }
    }
}
