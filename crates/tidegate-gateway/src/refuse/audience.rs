//! [`Audience`]: a refusal is said as problem+json (RFC 9457), as a page for a person, or as a gRPC status.

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tidegate::http::Problem;

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

    /// The answer that says it.
    #[must_use]
    pub fn answer(self, problem: &Problem) -> Response<Bytes> {
        let mut response = match self {
            Self::Program => problem.answer_json(),
            Self::Person => page(problem),
            Self::Grpc => problem.answer_grpc(),
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            // It must say which methods there are for its target (RFC 9110 §15.5.6). The target of CONNECT, which alone
            // is refused so, is a tunnel: there are none, as an empty field says (§10.2.1).
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(""));
        }
        response
    }
}

/// Does the request speak gRPC?
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn page(problem: &Problem) -> Response<Bytes> {
    let title = problem.status.canonical_reason().unwrap_or("Refused");
    // Coming back by itself, at the client's own moment, is what a person would do by hand, all at once.
    let again = match problem.retry_after_seconds().filter(|_| problem.worth_retrying) {
        Some(seconds) => format!(
            "<meta http-equiv=\"refresh\" content=\"{seconds}\">\n<p>This page tries again by itself in {seconds} s.</p>\n"
        ),
        None => String::new(),
    };
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<h1>{title}</h1>\n<p>{}</p>\n{again}<p><small>{}</small></p>\n",
        problem.detail, problem.reason,
    );
    let mut response = problem.answer(Bytes::from(page));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::RETRY_AFTER;
    use tidegate::Reason;

    use super::*;

    fn problem() -> Problem {
        let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::WaitTooLong, "Full.");
        problem.retry_after = Some(Duration::from_millis(1_234));
        problem
    }

    #[test]
    fn a_program_gets_a_problem_with_its_own_moment() {
        let response = Audience::Program.answer(&problem());
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (503, &"2".parse().unwrap())
        );
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let said = serde_json::json!({
            "type": "urn:tidegate:refused:wait_too_long",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "Full.",
            "reason": "wait_too_long",
            "worth_retrying": true,
            "retry_after_ms": 1234,
        });
        assert_eq!(body, said);
    }

    #[test]
    fn a_person_gets_a_page_and_grpc_a_status() {
        let page = Audience::Person.answer(&problem());
        assert!(std::str::from_utf8(page.body()).unwrap().contains("content=\"2\""));
        let grpc = Audience::Grpc.answer(&problem());
        assert_eq!((grpc.status().as_u16(), &grpc.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
        assert_eq!(grpc.headers()["grpc-retry-pushback-ms"], "1234");
        let mut never = problem();
        never.worth_retrying = false;
        assert_eq!(Audience::Grpc.answer(&never).headers()["grpc-retry-pushback-ms"], "-1");
        let page = Audience::Person.answer(&never);
        assert!(!std::str::from_utf8(page.body()).unwrap().contains("refresh"));
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
