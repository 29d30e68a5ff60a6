//! One request over a kept-alive connection.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::GONE_AT;
use crate::clock::date;
use crate::io::Io;

/// Bytes of a problem body that are kept to look for `retry_after_ms`; real ones have a few hundred.
const LONGEST_PROBLEM: usize = 16 << 10;

/// What a refusal's problem body may say.
#[derive(Debug, Deserialize)]
struct Problem {
    retry_after_ms: Option<u64>,
    /// Tidegate's word: `false` says that coming back is not likely to help.
    worth_retrying: Option<bool>,
}

/// What a refusal says about coming back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Return {
    /// Nothing.
    #[default]
    Unsaid,
    /// After this time.
    After(Duration),
    /// It would not help.
    Never,
}

type Connection = SendRequest<Empty<Bytes>>;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    /// 503 or 429.
    Refused(Return),
    TimedOut,
    Left,
    Failed,
}

/// Connections to one address, the last used first.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    host: String,
    path: String,
    /// Bounded by the requests in flight, which the run bounds.
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, host: String, path: String) -> Self {
        Self { address, host, path, idle: Mutex::new(Vec::new()) }
    }

    /// Sends one GET and reads the whole answer; the client gives up after `patience`. **Cancel safety:**
    /// dropped, it closes its connection, as a client that gives up does.
    pub(crate) async fn get(&self, patience: Duration) -> Answer {
        self.exchange(date() + patience).await.unwrap_or(Answer::Failed)
    }

    async fn exchange(&self, gone_at: SystemTime) -> Option<Answer> {
        let mut connection = match self.idle() {
            Some(connection) => connection,
            None => self.dial().await?,
        };
        let request = Request::get(&self.path)
            .header(header::HOST, &self.host)
            .header(GONE_AT, gone_at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_micros().to_string())
            .body(Empty::new())
            .ok()?;
        let response = connection.send_request(request).await.ok()?;
        let (head, mut body) = response.into_parts();
        let mut problem = Vec::new();
        let keep = is_problem(&head.headers);
        while let Some(frame) = body.frame().await {
            let frame = frame.ok()?;
            if let (true, Some(data)) = (keep, frame.data_ref()) {
                let room = LONGEST_PROBLEM.saturating_sub(problem.len()).min(data.len());
                problem.extend_from_slice(data.get(..room).unwrap_or_default());
            }
        }
        if connection.ready().await.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Some(match head.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Answer::Refused(come_back(&head.headers, &problem, date()))
            }
            status if status.is_success() => Answer::Ok,
            _ => Answer::Failed,
        })
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn dial(&self) -> Option<Connection> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let _ = stream.set_nodelay(true);
        let (connection, driver) = http1::handshake(Io(stream)).await.ok()?;
        tokio::spawn(driver);
        Some(connection)
    }
}

/// What a refusal says about coming back: in its problem body (RFC 9457) `worth_retrying` and `retry_after_ms`, which is
/// the finer moment, else `Retry-After` (RFC 9110, section 10.2.3) in seconds or as a date.
fn come_back(headers: &HeaderMap, problem: &[u8], now: SystemTime) -> Return {
    let problem = serde_json::from_slice::<Problem>(problem).ok();
    if problem.as_ref().is_some_and(|problem| problem.worth_retrying == Some(false)) {
        return Return::Never;
    }
    problem
        .and_then(|problem| problem.retry_after_ms)
        .map(Duration::from_millis)
        .or_else(|| retry_after(headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim(), now))
        .map_or(Return::Unsaid, Return::After)
}

fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // A date that has passed means now.
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/problem+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_to_come_back_are_understood() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let read = |retry: &'static str, problem: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(retry));
            come_back(&headers, problem.as_bytes(), now)
        };
        assert_eq!(read("3", ""), Return::After(Duration::from_secs(3)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT", ""), Return::After(Duration::from_secs(7)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT", ""), Return::After(Duration::ZERO), "it has passed");
        assert_eq!(read("soon", ""), Return::Unsaid);
        assert_eq!(
            read("3", r#"{"title":"x","retry_after_ms":2134}"#),
            Return::After(Duration::from_millis(2134))
        );
        assert_eq!(read("3", r#"{"title":"x"}"#), Return::After(Duration::from_secs(3)));
        assert_eq!(read("3", r#"{"retry_after_ms":"#), Return::After(Duration::from_secs(3)), "cut off");
        assert_eq!(come_back(&HeaderMap::new(), b"", now), Return::Unsaid);
        assert_eq!(read("40", r#"{"retry_after_ms":40000,"worth_retrying":false}"#), Return::Never);
        assert_eq!(
            read("3", r#"{"retry_after_ms":2134,"worth_retrying":true}"#),
            Return::After(Duration::from_millis(2134))
        );
    }

    #[test]
    fn only_problems_are_read() {
        for (kind, expected) in
            [("application/problem+json; charset=utf-8", true), ("application/json", false), ("", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
            assert_eq!(is_problem(&headers), expected, "{kind}");
        }
    }
}
