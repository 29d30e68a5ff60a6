//! An HTTP/1 client that sends exactly the bytes it is given, and reads answers strictly.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stand::bounded;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

pub(crate) struct Wire<S = TcpStream> {
    pub(crate) stream: S,
    read: BytesMut,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// False if the connection ended before the answer did.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The problem in it, which must be one.
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        problem
    }

    pub(crate) fn reason(&self) -> String {
        self.problem()["reason"].as_str().unwrap().to_owned()
    }
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = bounded("a connection", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl<S: Duplex> Wire<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, read: BytesMut::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        bounded("bytes are taken", self.stream.write_all(bytes.as_ref())).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next answer, interim ones included.
    pub(crate) async fn answer(&mut self) -> Answer {
        bounded("an answer", self.read_answer(false)).await.expect("the connection ended without an answer")
    }

    /// The next answer, to a HEAD request.
    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        bounded("an answer", self.read_answer(true)).await.expect("the connection ended without an answer")
    }

    /// The next answer, or the connection's end.
    pub(crate) async fn answer_or_end(&mut self) -> Option<Answer> {
        bounded("an answer or the end", self.read_answer(false)).await
    }

    /// Everything until the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        bounded("the connection's end", async { while self.more().await {} }).await;
        self.read.split().to_vec()
    }

    /// At least `count` bytes, as they are on the wire.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        bounded("bytes", async { while self.read.len() < count && self.more().await {} }).await;
        let count = count.min(self.read.len());
        self.read.split_to(count).to_vec()
    }

    /// Has anything come that nobody has read?
    pub(crate) fn has_unread(&self) -> bool {
        !self.read.is_empty()
    }

    async fn more(&mut self) -> bool {
        self.read.reserve(64 * 1024);
        matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }

    pub(crate) async fn head(&mut self) -> Option<(u16, HeaderMap)> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut response = httparse::Response::new(&mut fields);
            let parsed = response.parse(&self.read).unwrap_or_else(|e| panic!("{e}: {:?}", self.read));
            if let httparse::Status::Complete(length) = parsed {
                let headers = response.headers.iter().map(|field| {
                    let name = HeaderName::from_bytes(field.name.as_bytes()).unwrap();
                    (name, HeaderValue::from_bytes(field.value).unwrap())
                });
                let head = (
                    response.code.unwrap(),
                    headers.fold(HeaderMap::new(), |mut all, (name, value)| {
                        all.append(name, value);
                        all
                    }),
                );
                self.read.advance(length);
                return Some(head);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// A request's head, line by line; for the tests that play the origin.
    pub(crate) async fn request_head(&mut self) -> Vec<String> {
        bounded("a request", async {
            let mut lines = Vec::new();
            loop {
                match self.line().await.expect("the connection ended without a request") {
                    line if line.is_empty() => return lines,
                    line => lines.push(line),
                }
            }
        })
        .await
    }

    async fn read_answer(&mut self, to_head: bool) -> Option<Answer> {
        let (status, headers) = self.head().await?;
        let mut answer =
            Answer { status, headers, body: Vec::new(), trailers: HeaderMap::new(), whole: true };
        let length: Option<usize> =
            answer.headers.get("content-length").map(|l| l.to_str().unwrap().parse().unwrap());
        let chunked = answer.headers.contains_key("transfer-encoding");
        assert!(length.is_none() || !chunked, "two framings: {answer:?}");
        if to_head || status < 200 || status == 204 || status == 304 {
            return Some(answer);
        }
        if chunked {
            answer.whole = self.chunks(&mut answer).await.is_some();
        } else if let Some(length) = length {
            while self.read.len() < length && self.more().await {}
            let count = length.min(self.read.len());
            answer.whole = count == length;
            answer.body = self.read.split_to(count).to_vec();
        } else {
            while self.more().await {}
            answer.body = self.read.split().to_vec();
        }
        Some(answer)
    }

    async fn chunks(&mut self, answer: &mut Answer) -> Option<()> {
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(&line, 16).unwrap();
            if size == 0 {
                break;
            }
            while self.read.len() < size + 2 {
                if !self.more().await {
                    answer.body.extend_from_slice(&self.read.split());
                    return None;
                }
            }
            answer.body.extend_from_slice(&self.read.split_to(size));
            assert_eq!(&self.read.split_to(2)[..], b"\r\n");
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(());
            }
            let (name, value) = line.split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            answer.trailers.append(name, value.parse().unwrap());
        }
    }

    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = self.read.split_to(end + 2);
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }
}
