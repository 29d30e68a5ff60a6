//! [`ClientBody`]: a request's body as it comes from a client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::{BoxError, Free, Pace, PaceSettings, Received};

/// A request's body. Reads from the client only as much as is polled for: on HTTP/2, credit goes back when a
/// frame has been handed on, not when it arrived.
///
/// Ends with [`TooSlow`](super::TooSlow) if the client sends slower than it must, unless
/// [`without_pace`](Self::without_pace) was said.
///
/// Boxed if it has a byte at all: most requests have no body, and are moved several times.
#[derive(Debug)]
pub struct ClientBody(Option<Box<Coming>>);

/// What comes from a client.
#[derive(Debug)]
struct Coming {
    source: Source,
    pace: Option<Pace>,
}

#[derive(Debug)]
enum Source {
    Http1 {
        body: Incoming,
        free: Option<Free>,
    },
    /// `asks`: told when the body is wanted, by which a client that waits for a 100 gets it.
    Http2 {
        stream: Option<Received>,
        asks: Option<oneshot::Sender<()>>,
        /// Given the stream if this is dropped before its end.
        leaves: Option<oneshot::Sender<Received>>,
    },
}

impl ClientBody {
    /// A body without a byte.
    #[must_use]
    pub fn empty() -> Self {
        Self(None)
    }

    fn new(source: Source, pace: PaceSettings) -> Self {
        Self(Some(Box::new(Coming { source, pace: Some(Pace::new(pace)) })))
    }

    pub(crate) fn http1(body: Incoming, pace: PaceSettings, free: Option<Free>) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self::new(Source::Http1 { body, free }, pace)
    }

    pub(crate) fn http2(
        stream: Received,
        pace: PaceSettings,
        asks: Option<oneshot::Sender<()>>,
        leaves: oneshot::Sender<Received>,
    ) -> Self {
        if stream.is_end_stream() {
            return Self::empty();
        }
        Self::new(Source::Http2 { stream: Some(stream), asks, leaves: Some(leaves) }, pace)
    }

    /// Lets the client pause as long as it likes: for streams in which silence is normal, such as gRPC.
    pub fn without_pace(&mut self) {
        if let Some(coming) = &mut self.0 {
            coming.pace = None;
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let Source::Http2 { stream, leaves, .. } = &mut self.source else { return };
        if let (Some(stream), Some(leaves)) = (stream.take(), leaves.take()) {
            if !stream.is_end_stream() {
                let _ = leaves.send(stream); // nobody waits for it: its client has gone
            }
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(this) = &mut self.0 else { return Poll::Ready(None) };
        let polled = match &mut this.source {
            Source::Http1 { body, free } => {
                let polled = Pin::new(body).poll_frame(cx).map_err(BoxError::from);
                if let (Poll::Ready(Some(Ok(frame))), Some(free)) = (&polled, free) {
                    free.came(frame.data_ref().map_or(0, Bytes::len));
                }
                polled
            }
            Source::Http2 { stream, asks, .. } => {
                if let Some(asks) = asks.take() {
                    let _ = asks.send(()); // nobody listens: the answer is there already
                }
                let Some(stream) = stream else { return Poll::Ready(None) };
                stream.poll_frame(cx).map_err(BoxError::from)
            }
        };
        match (polled, &mut this.pace) {
            (Poll::Ready(Some(Ok(frame))), Some(pace)) => {
                pace.moved(frame.data_ref().map_or(0, |data| data.len() as u64))?;
                Poll::Ready(Some(Ok(frame)))
            }
            (Poll::Pending, Some(pace)) => {
                let slow = ready!(pace.poll_stalled(cx));
                Poll::Ready(Some(Err(slow.into())))
            }
            (polled, _) => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.0.as_ref().map(|coming| &coming.source) {
            None => true,
            Some(Source::Http1 { body, .. }) => body.is_end_stream(),
            Some(Source::Http2 { stream, .. }) => stream.as_ref().is_none_or(Received::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.as_ref().map(|coming| &coming.source) {
            None => SizeHint::with_exact(0),
            Some(Source::Http1 { body, .. }) => body.size_hint(),
            Some(Source::Http2 { .. }) => SizeHint::default(),
        }
    }
}
