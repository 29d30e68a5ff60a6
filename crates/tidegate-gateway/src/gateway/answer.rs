//! [`Answer`]: the body that a client gets, and when the permit behind it goes back.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tidegate::{Permit, Reason};
use tidegate_control::sample::Outcome;

use crate::body::{Ahead, BoxError};
use crate::origin::ReplyBody;

use super::becomes_stream::BecomesStream;
use super::record::Record;
use super::unread::Watched;

/// An answer's body: the gateway's own, or the origin's on its way.
#[derive(Debug)]
pub struct Answer(Inner);

#[derive(Debug)]
enum Inner {
    Whole(Option<Bytes>),
    Relay(Box<Relay>),
}

/// The origin's body, with what must be settled at its end.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) body: Option<ReplyBody>,
    /// Goes back at the origin's end.
    pub(super) permit: Option<Permit>,
    /// Holds the permit while the client might not read.
    pub(super) watched: Option<Watched>,
    pub(super) outcome: Outcome,
    /// Held by an endless answer in the permit's place.
    pub(super) stream: Option<Permit>,
    /// Fires when a gRPC answer turns out to be a stream.
    pub(super) becomes_stream: BecomesStream,
    pub(super) record: Record,
    pub(super) status: StatusCode,
}

impl Answer {
    pub(super) fn whole(body: Bytes) -> Self {
        Self(Inner::Whole(Some(body).filter(|body| !body.is_empty())))
    }

    /// Relays; settles at once if there is no byte to come. `shy` says that the client may not even take the first.
    pub(super) fn relay(mut relay: Relay, shy: bool) -> Self {
        if relay.body.as_ref().is_none_or(Body::is_end_stream) {
            relay.settle();
            return Self::whole(Bytes::new());
        }
        if shy {
            relay.watch();
        }
        Self(Inner::Relay(Box::new(relay)))
    }
}

impl Relay {
    /// From now on it counts as a stream if the client does not read.
    pub(super) fn watch(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.watched = Some(self.record.gateway().unread.watch(permit));
        }
    }

    /// The permit, unless it went back already.
    fn take_permit(&mut self) -> Option<Permit> {
        let watched = self.watched.take();
        self.permit.take().or_else(|| watched?.take())
    }

    /// The origin's end has been read.
    fn settle(&mut self) {
        if let Some(mut permit) = self.take_permit() {
            if !self.record.served() {
                permit.late();
            }
            permit.finish(self.outcome);
        }
        self.stream = None;
        self.record.finish(self.status, None);
    }

    /// The origin broke off.
    fn broke(&mut self) {
        if let Some(permit) = self.take_permit() {
            permit.overload();
        }
        self.record.finish(self.status, Some(Reason::OriginDown));
    }

    fn poll_becomes_stream(&mut self, cx: &mut Context<'_>) {
        if let Some(stream) = self.becomes_stream.poll(cx) {
            self.stream = Some(stream);
            if let Some(permit) = self.take_permit() {
                permit.ignore();
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Some(watched) = &self.watched {
            watched.asked();
        }
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let ended = body.is_end_stream();
        match &polled {
            Poll::Pending => self.poll_becomes_stream(cx),
            Poll::Ready(Some(Ok(_))) if !ended => match &self.watched {
                Some(watched) => watched.given(),
                None => self.watch(),
            },
            Poll::Ready(Some(Ok(_)) | None) => self.settle(),
            Poll::Ready(Some(Err(_))) => self.broke(),
        }
        polled
    }
}

impl Ahead for Answer {
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match &mut self.0 {
            Inner::Whole(_) => Poll::Ready(false),
            Inner::Relay(relay) => relay.body.as_mut().map_or(Poll::Ready(true), |body| body.poll_last(cx)),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The client left. First the connection closes, then the permit goes back.
        self.body = None;
        if let Some(mut permit) = self.take_permit() {
            permit.late();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Inner::Relay(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(body) => body.is_none(),
            Inner::Relay(relay) => relay.body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Inner::Relay(relay) => relay.body.as_ref().map_or_else(SizeHint::default, Body::size_hint),
        }
    }
}
