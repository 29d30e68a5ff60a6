//! [`Received`]: the body of an HTTP/2 message as it comes, from either side.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;

use super::flow::Flowing;

/// A message's body on an HTTP/2 stream. Credit goes back when a frame has been handed on, not when it arrived.
#[derive(Debug)]
pub(crate) struct Received {
    stream: RecvStream,
    lent: usize,
    data_ended: bool,
    /// After the stream, so that it is over when this says so.
    flowing: Option<Flowing>,
}

impl Received {
    pub(crate) fn new(stream: RecvStream, flowing: Option<Flowing>) -> Self {
        Self { stream, lent: 0, data_ended: false, flowing }
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
            if let Some(flowing) = &self.flowing {
                flowing.consumed(back);
            }
        }
        if !self.data_ended {
            let polled = self.stream.poll_data(cx);
            if let Some(flowing) = &mut self.flowing {
                flowing.read(polled.is_pending());
            }
            match ready!(polled) {
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

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(flowing) = &self.flowing {
            // h2 gives back what nobody has read.
            flowing.consumed(self.stream.flow_control().used_capacity());
        }
    }
}
