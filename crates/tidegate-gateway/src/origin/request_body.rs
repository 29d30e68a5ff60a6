//! [`RequestBody`]: what was read before the door, then the rest from the client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::{BoxError, ClientBody};

use super::sent::Sent;

/// A request's body on its way to the origin.
#[derive(Debug)]
pub struct RequestBody {
    ahead: VecDeque<Bytes>,
    rest: ClientBody,
    sent: Option<Sent>,
}

impl RequestBody {
    /// `ahead`, which was read already, then `rest`.
    #[must_use]
    pub fn new(ahead: VecDeque<Bytes>, rest: ClientBody) -> Self {
        Self { ahead, rest, sent: None }
    }

    /// A body without a byte.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(VecDeque::new(), ClientBody::empty())
    }

    /// Lets the sending of this body be seen; there is nothing to see if it has no byte.
    pub(super) fn watch(&mut self) -> Option<Sent> {
        if !self.is_end_stream() {
            self.sent = Some(Sent::new());
        }
        self.sent.clone()
    }

    /// The same body once more, if all of it is here.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        self.rest.is_end_stream().then(|| Self::new(self.ahead.clone(), ClientBody::empty()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = match self.ahead.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        };
        match (polled, &self.sent) {
            (Poll::Ready(Some(Err(error))), Some(sent)) => Poll::Ready(Some(Err(sent.broke(error).into()))),
            (Poll::Ready(frame), Some(sent)) => {
                sent.moved();
                Poll::Ready(frame)
            }
            (polled, _) => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.ahead.iter().map(|data| data.len() as u64).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(ahead.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(ahead.saturating_add(upper));
        }
        hint
    }
}
