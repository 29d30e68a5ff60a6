//! How a refusal is said: problem+json (RFC 9457), a page for a person, or a gRPC status.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use tidegate::Reason;

use super::Refusal;

/// Who reads the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audience {
    /// A program.
    Program,
    /// A person who follows a link in a browser.
    Person,
    /// A gRPC client.
    Grpc,
}

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// gRPC's own codes (grpc/doc/statuscodes.md).
const RESOURCE_EXHAUSTED: &str = "8";
const UNAVAILABLE: &str = "14";
const INTERNAL: &str = "13";

#[derive(Serialize)]
struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    reason: &'static str,
    worth_retrying: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_wait_ms: Option<u64>,
}

impl Audience {
    /// Who sent this request?
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        if is_grpc(headers) {
            return Self::Grpc;
        }
        let navigates = match headers.get(SEC_FETCH_MODE) {
            Some(mode) => mode == "navigate",
            None => {
                let accepted = headers.get(ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
                accepted.starts_with(b"text/html")
            }
        };
        if *method == Method::GET && navigates { Self::Person } else { Self::Program }
    }
}

/// Does the request speak gRPC?
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl Refusal {
    /// The answer that says it.
    #[must_use]
    pub fn render(&self, audience: Audience) -> Response<Bytes> {
        let mut response = match audience {
            Audience::Program => self.problem(),
            Audience::Person => self.page(),
            Audience::Grpc => return self.grpc(),
        };
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            // Whole seconds, never earlier than the moment that was given.
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds_up(after)));
        }
        response
    }

    fn problem(&self) -> Response<Bytes> {
        let problem = Problem {
            r#type: format!("urn:tidegate:refused:{}", self.reason.name()),
            title: self.status.canonical_reason().unwrap_or("Refused"),
            status: self.status.as_u16(),
            detail: self.detail,
            reason: self.reason.name(),
            worth_retrying: self.worth_retrying,
            retry_after_ms: self.retry_after.map(millis),
            predicted_wait_ms: self.wait.map(millis),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        with_type(Bytes::from(body), "application/problem+json")
    }

    fn page(&self) -> Response<Bytes> {
        let title = self.status.canonical_reason().unwrap_or("Refused");
        // Coming back by itself, at the client's own moment, is what a person would do by hand, all at once.
        let again = match self.retry_after.filter(|_| self.worth_retrying).map(seconds_up) {
            Some(seconds) => format!(
                "<meta http-equiv=\"refresh\" content=\"{seconds}\">\n<p>This page tries again by itself in {seconds} s.</p>\n"
            ),
            None => String::new(),
        };
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<h1>{title}</h1>\n<p>{}</p>\n{again}<p><small>{}</small></p>\n",
            self.detail,
            self.reason.name(),
        );
        with_type(Bytes::from(page), "text/html; charset=utf-8")
    }

    /// A trailers-only answer (gRPC over HTTP/2).
    fn grpc(&self) -> Response<Bytes> {
        let code = match (self.reason, self.status) {
            (Reason::TenantShare, _) => RESOURCE_EXHAUSTED,
            (Reason::Malformed, StatusCode::BAD_REQUEST) => INTERNAL,
            _ => UNAVAILABLE,
        };
        let mut response = with_type(Bytes::new(), "application/grpc");
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static(code));
        headers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static(self.detail));
        // A negative pushback says: do not retry (gRFC A6).
        let pushback = match self.retry_after {
            Some(after) if self.worth_retrying => HeaderValue::from(millis(after)),
            _ => HeaderValue::from_static("-1"),
        };
        headers.insert(HeaderName::from_static("grpc-retry-pushback-ms"), pushback);
        response
    }
}

fn with_type(body: Bytes, kind: &'static str) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Whole milliseconds, rounded up: a moment that is to come is never said to be now.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Reason::WaitTooLong, "Full.");
        refusal.retry_after = Some(Duration::from_millis(1_234));
        refusal.worth_retrying = true;
        refusal
    }

    #[test]
    fn a_program_gets_a_problem_with_its_own_moment() {
        let response = refusal().render(Audience::Program);
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (503, &"2".parse().unwrap())
        );
        let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((&problem["reason"], &problem["retry_after_ms"]), (&"wait_too_long".into(), &1234.into()));
    }

    #[test]
    fn a_moment_is_never_now() {
        let mut soon = refusal();
        soon.retry_after = Some(Duration::from_micros(50));
        let response = soon.render(Audience::Program);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(problem["retry_after_ms"], 1);
        assert_eq!(soon.render(Audience::Grpc).headers()["grpc-retry-pushback-ms"], "1");
    }

    #[test]
    fn a_person_gets_a_page_and_grpc_a_status() {
        let page = refusal().render(Audience::Person);
        assert!(std::str::from_utf8(page.body()).unwrap().contains("content=\"2\""));
        let grpc = refusal().render(Audience::Grpc);
        assert_eq!((grpc.status().as_u16(), &grpc.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
        assert_eq!(grpc.headers()["grpc-retry-pushback-ms"], "1234");
        let mut never = refusal();
        never.worth_retrying = false;
        assert_eq!(never.render(Audience::Grpc).headers()["grpc-retry-pushback-ms"], "-1");
    }

    #[test]
    fn the_audience_is_known_by_its_request() {
        let of = |method: Method, name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            Audience::of(&method, &headers)
        };
        assert_eq!(of(Method::GET, "sec-fetch-mode", "navigate"), Audience::Person);
        assert_eq!(of(Method::POST, "sec-fetch-mode", "navigate"), Audience::Program);
        assert_eq!(of(Method::GET, "accept", "text/html,*/*"), Audience::Person);
        assert_eq!(of(Method::GET, "accept", "*/*"), Audience::Program);
        assert_eq!(of(Method::POST, "content-type", "application/grpc+proto"), Audience::Grpc);
    }
}
