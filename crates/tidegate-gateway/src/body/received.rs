//! [`Received`]: the body of an HTTP/2 message as it comes, from either side.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;

/// A message's body on an HTTP/2 stream. Credit goes back when a frame has been handed on, not when it arrived.
#[derive(Debug)]
pub(crate) struct Received {
    stream: RecvStream,
    lent: usize,
    data_ended: bool,
}

impl Received {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, lent: 0, data_ended: false }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let back = std::mem::take(&mut self.lent);
        if back > 0 {
            self.stream.flow_control().release_capacity(back)?;
        }
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.lent = data.len();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        Poll::Ready(ready!(self.stream.poll_trailers(cx))?.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}
