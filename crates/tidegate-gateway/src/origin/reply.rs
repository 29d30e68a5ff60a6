//! [`Reply`]: the origin's answer, its head first.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::{Ahead, BoxError, Pace, PaceSettings, Received};
use crate::memory::Memory;

use super::http1::Kept;
use super::http2::{Sending, of_h2};
use super::sent::Sent;
use super::{Origin, OriginError, OriginErrorKind};

/// A client that has taken so many bytes of an answer reads it: more than one of the first reads.
const SHY: usize = 9 * 1024;

/// The origin's answer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply {
    /// Its head, as it came.
    pub head: Parts,
    /// Its body.
    pub body: ReplyBody,
}

/// An answer's body. At its end the connection is kept for others; dropped before, the connection is closed
/// (HTTP/1) or the stream reset (HTTP/2).
///
/// Ends with an [`OriginError`] (inside the [`BoxError`]) if the origin breaks off or pauses for too long.
#[derive(Debug)]
pub struct ReplyBody {
    source: Source,
    origin: Arc<Origin>,
    pace: Option<Pace>,
    /// A frame that was looked at before somebody took it, as [`Ahead`] does; reads are small since then.
    seen: Option<Box<Seen>>,
    looked: bool,
}

/// What a body is polled to: a frame, or its end.
type Seen = Option<Result<Frame<Bytes>, OriginError>>;

#[derive(Debug)]
enum Source {
    /// `sent`: how the request's body goes, if it has one; `shy`: so many bytes more until the connection may be read freely;
    /// `small`: in small reads even then.
    Http1 {
        body: Incoming,
        kept: Option<Kept>,
        sent: Option<Sent>,
        shy: usize,
        small: bool,
    },
    Http2 {
        stream: Received,
        sending: Sending,
    },
}

impl ReplyBody {
    pub(super) fn http1(body: Incoming, kept: Kept, sent: Option<Sent>, origin: Arc<Origin>) -> Self {
        let pace = Some(pace(&origin));
        let mut this = Self {
            source: Source::Http1 { body, kept: Some(kept), sent, shy: SHY, small: false },
            origin,
            pace,
            seen: None,
            looked: false,
        };
        this.keep_if_ended();
        this
    }

    pub(super) fn http2(stream: h2::RecvStream, sending: Sending, origin: Arc<Origin>) -> Self {
        let pace = Some(pace(&origin));
        Self {
            source: Source::Http2 { stream: Received::new(stream), sending },
            origin,
            pace,
            seen: None,
            looked: false,
        }
    }

    /// Lets the origin pause as long as it likes: for streams in which silence is normal.
    pub fn without_pace(&mut self) {
        self.pace = None;
    }

    /// Reads it in pieces of a frame's size, so that less of it waits in a client's stream that is not read. Larger ones
    /// cost less (a third of the CPU over HTTP/1, nothing to see over HTTP/2).
    pub fn in_small_reads(&mut self) {
        if let Source::Http1 { small, .. } = &mut self.source {
            *small = true;
        }
    }

    /// Is the request's body still on its way? (Known for HTTP/2 only.)
    #[must_use]
    pub fn still_sending(&self) -> bool {
        matches!(&self.source, Source::Http2 { sending, .. } if !sending.finished())
    }

    /// Whoever takes the next frame has credit: reads are as large again as they were.
    fn look_no_more(&mut self) {
        if !std::mem::take(&mut self.looked) {
            return;
        }
        if let Source::Http1 { kept: Some(kept), shy: shy @ 0, small, .. } = &mut self.source {
            if !kept.read_freely(*small, self.origin.settings.memory.as_ref()) {
                *shy = SHY;
            }
        }
    }

    fn keep_if_ended(&mut self) {
        if matches!(&self.source, Source::Http1 { body, .. } if body.is_end_stream()) {
            self.keep();
        }
    }

    /// All of the answer was read: its connection is for others. Unless the request's body is still on its way, which would
    /// take its time, and go on with no permit; then it is closed.
    fn keep(&mut self) {
        let Source::Http1 { kept, sent, .. } = &mut self.source else { return };
        let Some(kept) = kept.take() else { return };
        if sent.as_ref().is_none_or(Sent::is_over) {
            kept.read_first();
            self.origin.keep(kept);
        }
    }
}

/// Polls the body. Until `shy` more bytes were taken, hyper must not read ahead of who takes them: four thousand
/// clients that do not read would cost a buffer each.
fn poll_shyly(
    body: &mut Incoming,
    kept: Option<&mut Kept>,
    (shy, small): (&mut usize, bool),
    memory: Option<&Memory>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
    let Some(kept) = kept.filter(|_| *shy > 0) else {
        return Pin::new(body).poll_frame(cx).map_err(OriginError::of_hyper);
    };
    // Before a frame is taken, since hyper reads the next one in that moment.
    kept.hold();
    let polled = Pin::new(body).poll_frame(cx).map_err(OriginError::of_hyper);
    match &polled {
        Poll::Pending => kept.read_first(),
        Poll::Ready(Some(Ok(frame))) => {
            *shy = shy.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if *shy == 0 && !kept.read_freely(small, memory) {
                *shy = SHY;
            }
        }
        Poll::Ready(_) => kept.read_first(),
    }
    polled
}

fn pace(origin: &Origin) -> Pace {
    let stall: Duration = origin.settings.body_timeout;
    Pace::new(PaceSettings { stall, rate: 0, ..PaceSettings::default() })
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        this.look_no_more();
        let polled = match &mut this.source {
            _ if this.seen.is_some() => Poll::Ready(this.seen.take().and_then(|seen| *seen)),
            Source::Http1 { body, kept, shy, small, .. } => {
                let memory = this.origin.settings.memory.as_ref();
                poll_shyly(body, kept.as_mut(), (shy, *small), memory, cx)
            }
            Source::Http2 { stream, .. } => stream.poll_frame(cx).map_err(of_h2),
        };
        match polled {
            Poll::Pending => {
                if let Some(pace) = &mut this.pace {
                    let slow = ready!(pace.poll_stalled(cx));
                    let error = OriginError::new(OriginErrorKind::BodyStalled, slow);
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Pending
            }
            Poll::Ready(frame) => {
                if let (Some(pace), Some(Ok(_))) = (&mut this.pace, &frame) {
                    pace.moved(1)?;
                }
                match frame {
                    None => this.keep(),
                    Some(_) => this.keep_if_ended(),
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            _ if self.seen.is_some() => false,
            Source::Http1 { body, .. } => body.is_end_stream(),
            Source::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1 { body, .. } => body.size_hint(),
            Source::Http2 { .. } => SizeHint::default(),
        }
    }
}

impl Ahead for ReplyBody {
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.seen.is_none() {
            let polled = match &mut self.source {
                Source::Http1 { body, kept, .. } => {
                    self.looked = true;
                    // hyper has the next frame already, or reads a little to find it, and no more.
                    if let Some(kept) = kept {
                        kept.hold();
                    }
                    let polled = Pin::new(body).poll_frame(cx).map_err(OriginError::of_hyper);
                    if let (Some(kept), Poll::Pending) = (kept, &polled) {
                        kept.read_first();
                    }
                    polled
                }
                // The peer's credit goes back only when the frame is taken: what is seen here was here.
                Source::Http2 { stream, .. } if stream.is_end_stream() => return Poll::Ready(true),
                Source::Http2 { .. } => return Poll::Ready(false),
            };
            self.seen = Some(Box::new(ready!(polled)));
        }
        Poll::Ready(!matches!(self.seen.as_deref(), Some(Some(Ok(frame))) if frame.is_data()))
    }
}
