//! [`Problem`]: what a refusal says in HTTP.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::refused::{Reason, Refused};

use super::json::Quoted;
use super::spread;

/// gRPC's own codes (grpc/doc/statuscodes.md).
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");
const INTERNAL: HeaderValue = HeaderValue::from_static("13");
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// Holds every answer of ours without growing: the longest has 330 bytes.
const JSON_BYTES: usize = 384;

/// What a refusal says in HTTP: the status, the reason, and a moment to come back that is this caller's own.
///
/// ```
/// use tidegate::http::Problem;
/// use tidegate::{Limiter, QueueConfig};
///
/// let limiter = Limiter::builder().limit(1).queue(QueueConfig::none()).build()?;
/// let _held = limiter.try_acquire(1).unwrap();
/// let problem = Problem::of(&limiter.try_acquire(1).unwrap_err());
/// assert_eq!(problem.status, 503);
/// assert!(problem.json().contains("\"reason\":\"queue_full\""));
/// # Ok::<(), tidegate::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The status: of a limiter's refusal 429 where the tenant's own share is the reason, else 503.
    pub status: StatusCode,
    /// Why.
    pub reason: Reason,
    /// One sentence for a person.
    pub detail: &'static str,
    /// When to come back: the limiter's answer, or while it does not know its pace, a moment between 1 s and 5 s
    /// that differs from those given before. `None` if a later moment would be no better here.
    pub retry_after: Option<Duration>,
    /// False if coming back is not likely to help.
    pub worth_retrying: bool,
    /// The wait that was predicted, if the wait was the reason.
    pub wait: Option<Duration>,
}

impl Problem {
    /// A refusal of the program's own making, without a limiter. Where the reason is that there is too much at the
    /// moment, it gets a moment to come back between 1 s and 5 s that differs from those given before.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tidegate::Reason;
    /// use tidegate::http::Problem;
    ///
    /// let full = Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Memory, "The uploads take all the memory.");
    /// assert!(full.retry_after.is_some() && full.worth_retrying);
    /// let wrong = Problem::new(StatusCode::BAD_REQUEST, Reason::Malformed, "The range ends before it begins.");
    /// assert!(wrong.retry_after.is_none() && !wrong.worth_retrying);
    /// ```
    #[must_use]
    pub fn new(status: StatusCode, reason: Reason, detail: &'static str) -> Self {
        let for_load = is_for_load(reason);
        let retry_after = for_load.then(spread::next);
        Self { status, reason, detail, retry_after, worth_retrying: for_load, wait: None }
    }

    /// What `refused` says.
    #[must_use]
    pub fn of(refused: &Refused) -> Self {
        let reason = refused.reason();
        // A limiter that does not know its pace yet says nothing of when, but that it is worth it.
        let spread = is_for_load(reason) && refused.worth_retrying();
        Self {
            status: match reason {
                Reason::TenantShare => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
            reason,
            detail: detail(reason),
            retry_after: refused.retry_after().or_else(|| spread.then(spread::next)),
            worth_retrying: refused.worth_retrying(),
            wait: refused.wait().map(|wait| wait.expected),
        }
    }

    /// An answer with `body`: the status, `Cache-Control: no-store` and, where there is a moment to come back,
    /// `Retry-After`. What the body is remains to be said in `Content-Type`.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tidegate::{Reason, http::Problem};
    ///
    /// let full = Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::QueueFull, "Every seat is taken.");
    /// let page = full.answer(format!("<h1>{}</h1>", full.detail));
    /// assert_eq!((page.status(), &page.headers()["cache-control"]), (full.status, &"no-store".parse().unwrap()));
    /// ```
    #[must_use]
    pub fn answer<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// The answer as `application/problem+json`; its body is [`json`](Self::json).
    #[must_use]
    pub fn answer_json<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = self.answer(B::from(Bytes::from(self.json())));
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    /// The answer to a gRPC client, of trailers only: `RESOURCE_EXHAUSTED` where the tenant's own share is the
    /// reason, `INTERNAL` for a malformed request (400) or a head that is too large (431), else `UNAVAILABLE`; with `grpc-retry-pushback-ms`.
    #[must_use]
    pub fn answer_grpc<B: Default>(&self) -> Response<B> {
        let code = match (self.reason, self.status) {
            (Reason::TenantShare, _) => RESOURCE_EXHAUSTED,
            (Reason::Malformed, StatusCode::BAD_REQUEST | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
                INTERNAL
            }
            _ => UNAVAILABLE,
        };
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, code);
        headers.insert(GRPC_MESSAGE, grpc_message(self.detail));
        headers.insert(GRPC_PUSHBACK, HeaderValue::from(self.grpc_pushback()));
        response
    }

    /// As JSON (RFC 9457).
    #[must_use]
    pub fn json(&self) -> String {
        let mut json = String::with_capacity(JSON_BYTES);
        // Writing to a String does not fail.
        let _ = write!(
            json,
            r#"{{"type":"urn:tidegate:refused:{}","title":"{}","status":{},"detail":{},"reason":"{}","worth_retrying":{}"#,
            self.reason,
            self.status.canonical_reason().unwrap_or("Refused"),
            self.status.as_u16(),
            Quoted(self.detail),
            self.reason,
            self.worth_retrying,
        );
        for (name, time) in [("retry_after_ms", self.retry_after), ("predicted_wait_ms", self.wait)] {
            if let Some(time) = time {
                let _ = write!(json, r#","{name}":{}"#, millis(time));
            }
        }
        json.push('}');
        json
    }

    /// `Retry-After`: whole seconds, never earlier than the moment that was given.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after
            .map(|after| after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1))
    }

    /// `grpc-retry-pushback-ms` (gRFC A6, a signed number of 32 bits): milliseconds, rounded up; −1 says: do not retry.
    #[must_use]
    pub fn grpc_pushback(&self) -> i32 {
        match self.retry_after {
            Some(after) if self.worth_retrying => i32::try_from(millis(after)).unwrap_or(i32::MAX),
            _ => -1,
        }
    }
}

/// Is there too much at the moment, so that a later moment may be better?
fn is_for_load(reason: Reason) -> bool {
    use Reason::{Connections, Displaced, Expired, Memory, QueueFull, TenantShare, WaitTooLong};
    matches!(reason, QueueFull | WaitTooLong | Expired | Displaced | Memory | Connections | TenantShare)
}

/// Whole milliseconds, rounded up: a moment that is to come is never said to be now.
fn millis(time: Duration) -> u64 {
    let millis = u64::from(time.subsec_nanos().div_ceil(1_000_000));
    time.as_secs().saturating_mul(1000).saturating_add(millis)
}

/// What is not visible ASCII is percent-encoded (gRPC over HTTP/2, "Percent-Encoded").
fn grpc_message(detail: &'static str) -> HeaderValue {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) & (byte != b'%');
    // Looking at all of them, without stopping at the first, is done for many at once.
    if detail.bytes().fold(true, |all, byte| all & plain(byte)) {
        return HeaderValue::from_static(detail);
    }
    let mut encoded = String::with_capacity(3 * detail.len());
    for byte in detail.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

fn detail(reason: Reason) -> &'static str {
    match reason {
        Reason::QueueFull => "The service is full and so is the queue before it.",
        Reason::WaitTooLong => "The service is full, and the wait would have been too long.",
        Reason::Deadline => "The answer would have come too late for you.",
        Reason::Expired => "The time for an answer has passed.",
        Reason::Displaced => "The service is full, and more important work took the place.",
        Reason::TenantShare => "You have your share of the service already.",
        Reason::Memory => "The memory for waiting requests is used up.",
        Reason::Connections => "The service has too many open connections.",
        Reason::Draining => "The service is shutting down.",
        Reason::OriginDown => "The service behind cannot be reached.",
        Reason::OriginTimeout => "The service behind did not answer in time.",
        Reason::TicketInvalid => "The ticket shown is not valid.",
        Reason::Malformed => "The request cannot be understood.",
        Reason::AlreadyHeld => "This holder has its one permit already.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: Reason, after: Option<u64>) -> Refused {
        let retry_after = after.map(Duration::from_millis);
        let worth_retrying = after.is_some() || is_for_load(reason);
        Refused::new(reason, "db".into()).after(retry_after).worth_it(worth_retrying)
    }

    #[test]
    fn what_is_not_worth_coming_back_for_gets_no_moment() {
        let ended = refused(Reason::Expired, None).worth_it(false);
        let problem = Problem::of(&ended);
        assert_eq!((problem.retry_after, problem.worth_retrying, problem.grpc_pushback()), (None, false, -1));
    }

    #[test]
    fn every_reason_makes_json_that_can_be_read() {
        for reason in Reason::ALL {
            let problem = Problem::of(&refused(reason, Some(1234)));
            let read: serde_json::Value = serde_json::from_str(&problem.json()).unwrap();
            assert_eq!((&read["reason"], &read["retry_after_ms"]), (&reason.name().into(), &1234.into()));
            assert_eq!(read["status"], problem.status.as_u16());
            assert_eq!((problem.retry_after_seconds(), problem.grpc_pushback()), (Some(2), 1234));
        }
    }

    #[test]
    fn an_unknown_pace_still_gives_moments_that_differ() {
        let full = || Problem::of(&refused(Reason::QueueFull, None));
        assert_ne!(full().retry_after, full().retry_after);
        assert!(full().worth_retrying);
        let draining = Problem::of(&refused(Reason::Draining, None));
        assert_eq!(
            (draining.retry_after, draining.worth_retrying, draining.grpc_pushback()),
            (None, false, -1)
        );
        assert_eq!(Problem::of(&refused(Reason::TenantShare, None)).status, 429);
    }

    #[test]
    fn a_moment_is_never_now() {
        let soon = refused(Reason::QueueFull, Some(1)).after(Some(Duration::from_micros(50)));
        let soon = Problem::of(&soon);
        assert_eq!((soon.retry_after_seconds(), soon.grpc_pushback()), (Some(1), 1));
        assert!(soon.json().contains("\"retry_after_ms\":1"), "{}", soon.json());
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }

    #[test]
    fn any_sentence_can_be_said() {
        let said = "\"50%\" of\nthe caf\u{e9}";
        let problem = Problem::new(StatusCode::BAD_REQUEST, Reason::Malformed, said);
        let read: serde_json::Value = serde_json::from_str(&problem.json()).unwrap();
        assert_eq!(read["detail"], said);
        let grpc = problem.answer_grpc::<String>();
        assert_eq!(grpc.headers()["grpc-message"], "\"50%25\" of%0Athe caf%C3%A9");
        assert_eq!((grpc.status().as_u16(), &grpc.headers()["grpc-status"]), (200, &INTERNAL));
        assert_eq!(grpc.headers()["grpc-retry-pushback-ms"], "-1");
        for (status, code) in [
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, INTERNAL),
            (StatusCode::REQUEST_TIMEOUT, UNAVAILABLE),
        ] {
            let grpc = Problem::new(status, Reason::Malformed, said).answer_grpc::<String>();
            assert_eq!(grpc.headers()["grpc-status"], code);
        }
    }
}
