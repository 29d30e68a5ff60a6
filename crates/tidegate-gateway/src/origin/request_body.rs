//! [`RequestBody`]: what was read before the door, then the rest from the client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::body::{Ahead, BoxError, ClientBody};
use crate::memory::{Memory, Tier};
use crate::socket::{UNWRITTEN, Watch};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tidegate::budget::Lease;

use super::sent::Sent;

/// A request's body on its way to the origin.
///
/// Boxed if it has a byte at all: hyper has room for 32 requests on each connection, and most of them have no body.
#[derive(Debug)]
pub struct RequestBody(Option<Box<Parts>>);

#[derive(Debug)]
struct Parts {
    ahead: VecDeque<Bytes>,
    rest: ClientBody,
    sent: Option<Sent>,
    /// The connection that it is written to, which is handed no more than it takes.
    over: Option<Over>,
}

/// A connection that a body is written to.
#[derive(Debug)]
struct Over {
    line: Watch,
    memory: Option<Memory>,
    /// How much of the body it may hold unwritten.
    most: usize,
    /// So many bytes more until it may hold a lot, if there is memory.
    until: usize,
    /// Pays for what may wait unwritten: until it is written, even if the body ends before.
    lease: Option<Lease>,
}

/// So many bytes must have flowed before a body may flow freely, and before it is asked again; and what may wait unwritten
/// where memory has no bound.
const LARGE: usize = 64 * 1024;
/// So many bytes must have flowed before it is given what takes the least of the processor: several times what that holds.
const LONG: usize = 1024 * 1024;

impl RequestBody {
    /// `ahead`, which was read already, then `rest`.
    #[must_use]
    pub fn new(ahead: VecDeque<Bytes>, rest: ClientBody) -> Self {
        let empty = ahead.is_empty() && rest.is_end_stream();
        Self((!empty).then(|| Box::new(Parts { ahead, rest, sent: None, over: None })))
    }

    /// A body without a byte.
    #[must_use]
    pub fn empty() -> Self {
        Self(None)
    }

    /// Lets the sending of this body be seen; there is nothing to see if it has no byte.
    pub(super) fn watch(&mut self) -> Option<Sent> {
        let parts = self.0.as_mut()?;
        if parts.sent.is_none() && !parts.is_end_stream() {
            parts.sent = Some(Sent::new());
        }
        parts.sent.clone()
    }

    /// It is written to this connection, and waits while that holds too much of it.
    pub(super) fn goes_over(&mut self, line: &Watch, memory: Option<&Memory>) {
        if let Some(parts) = &mut self.0 {
            let most = if memory.is_some() { UNWRITTEN } else { LARGE };
            let (line, memory) = (line.clone(), memory.cloned());
            parts.over = Some(Over { line, memory, most, until: LARGE, lease: None });
        }
    }

    /// The same body once more, if all of it is here.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        match &self.0 {
            None => Some(Self::empty()),
            Some(parts) => {
                parts.rest.is_end_stream().then(|| Self::new(parts.ahead.clone(), ClientBody::empty()))
            }
        }
    }
}

impl Parts {
    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.is_end_stream()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(sent) = &self.sent {
            sent.ends();
        }
    }
}

impl Over {
    fn owes(&mut self, bytes: usize) {
        self.line.owes(bytes);
        let Some(memory) = &self.memory else { return };
        self.until = self.until.saturating_sub(bytes);
        if self.until > 0 {
            return;
        }
        let plan = memory.plan();
        if self.most < LARGE {
            self.until = LARGE;
            self.lease = memory.lease(LARGE as u64, Tier::Grow);
            if self.lease.is_some() {
                (self.most, self.until) = (LARGE, LONG);
            }
        } else {
            // Not asked again: it is only a little faster so.
            self.until = usize::MAX;
            if let Some(lease) = memory.lease(plan.flows(), Tier::Grow) {
                self.line.widen(plan.unsent(), lease);
                self.most = plan.unwritten();
                self.lease = None;
            }
        }
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.line.pay_until_written(lease);
        }
    }
}

impl Ahead for RequestBody {}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(parts) = &mut self.0 else { return Poll::Ready(None) };
        if let Some(over) = &parts.over {
            ready!(over.line.poll_owed(over.most, cx));
        }
        let polled = match parts.ahead.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut parts.rest).poll_frame(cx),
        };
        if let (Some(over), Poll::Ready(Some(Ok(frame)))) = (&mut parts.over, &polled) {
            over.owes(frame.data_ref().map_or(0, Bytes::len));
        }
        match (polled, &parts.sent) {
            (Poll::Ready(Some(Err(error))), Some(sent)) => Poll::Ready(Some(Err(sent.broke(error).into()))),
            (Poll::Ready(frame), Some(sent)) => {
                sent.moved();
                Poll::Ready(frame)
            }
            (polled, _) => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|parts| parts.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(parts) = &self.0 else { return SizeHint::with_exact(0) };
        let ahead: u64 = parts.ahead.iter().map(|data| data.len() as u64).sum();
        let rest = parts.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(ahead.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(ahead.saturating_add(upper));
        }
        hint
    }
}
