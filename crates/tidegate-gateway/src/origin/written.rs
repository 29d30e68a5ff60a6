//! [`Written`]: the head that was last written over a connection, in case that its request has to be sent once more.
//!
//! A copy of every request would cost a twentieth of all that is done for it, and hardly any is ever used. Its bytes pass
//! here anyway.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Method, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::RequestBody;

/// Room for a head of so many bytes is kept from one to the next: few are longer.
const ROOM: usize = 2048;

/// The head that was last written over a connection. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(Arc<Page>);

#[derive(Debug, Default)]
struct Page {
    /// The next bytes begin with a head.
    next: AtomicBool,
    head: Mutex<Vec<u8>>,
}

impl Written {
    /// What is written next begins with a head.
    pub(super) fn head_comes(&self) {
        self.0.next.store(true, Ordering::Relaxed); // the request goes to who writes by a channel
    }

    /// The request whose head was written, with this `body`. `None` if it was not.
    pub(super) fn request(&self, body: RequestBody) -> Option<Request<RequestBody>> {
        if self.0.next.load(Ordering::Relaxed) {
            return None;
        }
        let head = self.head();
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        let mut fields = vec![httparse::EMPTY_HEADER; lines];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(&head).ok().filter(httparse::Status::is_complete)?;
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
        *request.uri_mut() = parsed.path?.parse().ok()?;
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
        Some(request)
    }

    fn passes(&self, bytes: &[u8]) {
        if self.0.next.load(Ordering::Relaxed) {
            self.0.next.store(false, Ordering::Relaxed);
            let mut head = self.head();
            head.clear();
            head.shrink_to(ROOM);
            head.extend_from_slice(bytes);
        }
    }

    // Nothing that can panic is done under this lock.
    fn head(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of whose writes the heads are noted.
#[derive(Debug)]
pub(super) struct Noted<S> {
    inner: S,
    written: Written,
}

impl<S> Noted<S> {
    pub(super) fn new(inner: S, written: Written) -> Self {
        Self { inner, written }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.passes(bytes);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper has a whole head in one piece, before any of its body.
        if let Some(first) = slices.first() {
            self.written.passes(first);
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_last_head_becomes_the_same_request_again() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let written = Written::default();
        let mut noted = Noted::new(near, written.clone());
        let again = || written.request(RequestBody::empty());
        assert!(again().is_none(), "nothing was written");
        written.head_comes();
        assert!(again().is_none());
        let head =
            "PUT /a?b=%20 HTTP/1.1\r\nhost: a:1\r\nx: 1\r\ny:\r\nx: \u{e4} 2\r\ncontent-length: 4\r\n\r\n";
        // Only what begins with a head is one, and one is noted whether or not all of it was taken.
        let slices = [io::IoSlice::new(head.as_bytes()), io::IoSlice::new(b"body")];
        assert!(noted.write_vectored(&slices).await.unwrap() > 0);
        noted.write_all(b"GET /other HTTP/1.1\r\n\r\n").await.unwrap();
        let request = again().unwrap();
        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::PUT, "/a?b=%20"));
        let fields: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let x = "\u{e4} 2".as_bytes();
        assert_eq!(
            fields,
            [("host", &b"a:1"[..]), ("x", b"1"), ("x", x), ("y", b""), ("content-length", b"4")]
        );
        let mut got = vec![0; head.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, head.as_bytes());
    }

    #[tokio::test]
    async fn a_long_head_is_whole_and_its_room_is_not_kept() {
        let (near, _far) = tokio::io::duplex(1 << 16);
        let written = Written::default();
        let mut noted = Noted::new(near, written.clone());
        let long = format!("GET / HTTP/1.1\r\n{}\r\n", "name: value\r\n".repeat(300));
        for (head, fields) in [(long.as_str(), 300), ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1)] {
            written.head_comes();
            noted.write_all(head.as_bytes()).await.unwrap();
            assert_eq!(written.request(RequestBody::empty()).unwrap().headers().len(), fields);
        }
        assert!(written.head().capacity() <= ROOM);
    }
}
