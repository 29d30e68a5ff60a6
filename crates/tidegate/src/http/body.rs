//! [`PermitBody`]: a body that holds a permit until it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tidegate_control::sample::Outcome;

use crate::limiter::Permit;
use crate::tower::Hold;

use super::outcome::grpc_outcome;

/// The permit is held until the response's body has ended or was dropped: see [`PermitBody`].
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilBodyEnd;

impl<B: Body> Hold<Response<B>> for UntilBodyEnd {
    type Held = Response<PermitBody<B>>;

    fn hold(&self, response: Response<B>, permit: Permit, outcome: Outcome) -> Self::Held {
        response.map(|body| PermitBody::new(body, permit, outcome))
    }
}

pin_project! {
    /// A body that holds a permit until it ends: until its last frame was taken, it failed, or it was dropped.
    ///
    /// At the end the outcome is reported that the response's head had, unless gRPC's trailers say worse. A body that
    /// fails reports [`Outcome::Ignore`], unless the head said overload; one that is dropped before all that it had
    /// announced was taken reports [`Outcome::Canceled`]: its client left. What feeds the body is dropped before the
    /// permit.
    #[derive(Debug)]
    pub struct PermitBody<B> {
        // The order is the order of dropping.
        #[pin]
        body: B,
        held: Held,
    }
}

/// The permit of a body, and what is to be reported at its end.
#[derive(Debug)]
pub(crate) struct Held {
    permit: Option<Permit>,
    outcome: Outcome,
    /// Bytes still to come, if the body announced its length.
    left: Option<u64>,
}

impl Held {
    const fn nothing() -> Self {
        Self { permit: None, outcome: Outcome::Ignore, left: None }
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            permit.finish(outcome);
        }
    }

    /// So many bytes were taken from the body.
    pub(crate) fn took(&mut self, bytes: u64) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Was all taken that the body had announced?
    pub(crate) fn has_all(&self) -> bool {
        self.left == Some(0)
    }

    /// The body ended well.
    pub(crate) fn end(&mut self) {
        self.finish(self.outcome);
    }

    /// The body broke off.
    pub(crate) fn fail(&mut self) {
        self.finish(if self.outcome == Outcome::Overload { Outcome::Overload } else { Outcome::Ignore });
    }
}

impl Drop for Held {
    /// Servers do not ask for the end of a body whose announced length they have.
    fn drop(&mut self) {
        self.finish(if self.has_all() { self.outcome } else { Outcome::Canceled });
    }
}

impl<B: Body> PermitBody<B> {
    /// `body`, which ends with `outcome` if it ends well. The permit of an empty body goes back at once.
    #[must_use]
    pub fn new(body: B, permit: Permit, outcome: Outcome) -> Self {
        let (left, ended) = (body.size_hint().exact(), body.is_end_stream());
        Self::with_left(body, permit, outcome, left, ended)
    }
}

impl<B> PermitBody<B> {
    /// `left`: the bytes that the body announces.
    pub(crate) fn with_left(
        body: B,
        permit: Permit,
        outcome: Outcome,
        left: Option<u64>,
        ended: bool,
    ) -> Self {
        let mut held = Held { permit: Some(permit), outcome, left };
        if ended {
            held.end();
        }
        Self { body, held }
    }

    /// The body inside, and its permit.
    pub(crate) fn parts(self: Pin<&mut Self>) -> (Pin<&mut B>, &mut Held) {
        let this = self.project();
        (this.body, this.held)
    }

    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.body
    }
}

/// A body without a permit.
impl<B: Default> Default for PermitBody<B> {
    fn default() -> Self {
        Self { body: B::default(), held: Held::nothing() }
    }
}

/// A body without a permit.
impl<B: From<Bytes>> From<Bytes> for PermitBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self { body: B::from(bytes), held: Held::nothing() }
    }
}

impl<B: Body> Body for PermitBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let (mut body, held) = self.parts();
        let frame = ready!(body.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    held.took(data.remaining() as u64);
                }
                // Of a gRPC stream the status comes last.
                if let (Outcome::Success, Some(trailers)) = (held.outcome, frame.trailers_ref()) {
                    held.outcome = grpc_outcome(trailers).unwrap_or(Outcome::Success);
                }
                if body.is_end_stream() {
                    held.end();
                }
            }
            None => held.end(),
            Some(Err(_)) => held.fail(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
