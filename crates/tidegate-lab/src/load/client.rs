//! One request over a kept-alive connection.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use tokio::net::TcpStream;

use crate::io::Io;

type Connection = SendRequest<Empty<Bytes>>;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    /// 503 or 429, and when to come back if it said.
    Refused(Option<Duration>),
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

    /// Sends one GET and reads the whole answer. **Cancel safety:** dropped, it closes its connection, as a
    /// client that gives up does.
    pub(crate) async fn get(&self) -> Answer {
        self.exchange().await.unwrap_or(Answer::Failed)
    }

    async fn exchange(&self) -> Option<Answer> {
        let mut connection = match self.idle() {
            Some(connection) => connection,
            None => self.dial().await?,
        };
        let request = Request::get(&self.path).header(header::HOST, &self.host).body(Empty::new()).ok()?;
        let response = connection.send_request(request).await.ok()?;
        let (head, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            frame.ok()?;
        }
        if connection.ready().await.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Some(match head.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Answer::Refused(retry_after(&head.headers))
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

/// `Retry-After` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
