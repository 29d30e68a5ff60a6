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
    /// At the end the outcome is reported that the response's head had. A body that fails reports
    /// [`Outcome::Ignore`], unless the head said overload; one that is dropped before all that it had announced
    /// was taken reports [`Outcome::Canceled`]: its client left. What feeds the body is dropped before the permit.
    #[derive(Debug)]
    pub struct PermitBody<B> {
        // The order is the order of dropping.
        #[pin]
        body: B,
        held: Option<Held>,
    }
}

#[derive(Debug)]
struct Held {
    permit: Option<Permit>,
    outcome: Outcome,
    /// Bytes still to come, if the body announced its length.
    left: Option<u64>,
}

impl Held {
    fn finish(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            permit.finish(outcome);
        }
    }
}

impl Drop for Held {
    /// Servers do not ask for the end of a body whose announced length they have.
    fn drop(&mut self) {
        let outcome = if self.left == Some(0) { self.outcome } else { Outcome::Canceled };
        self.finish(outcome);
    }
}

impl<B: Body> PermitBody<B> {
    /// `body`, which ends with `outcome` if it ends well. The permit of an empty body goes back at once.
    #[must_use]
    pub fn new(body: B, permit: Permit, outcome: Outcome) -> Self {
        let left = body.size_hint().exact();
        let mut held = Held { permit: Some(permit), outcome, left };
        if body.is_end_stream() {
            held.finish(outcome);
        }
        Self { body, held: Some(held) }
    }
}

/// A body without a permit.
impl<B: Default> Default for PermitBody<B> {
    fn default() -> Self {
        Self { body: B::default(), held: None }
    }
}

/// A body without a permit.
impl<B: From<Bytes>> From<Bytes> for PermitBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self { body: B::from(bytes), held: None }
    }
}

impl<B: Body> Body for PermitBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let ended = this.body.is_end_stream();
        if let Some(held) = this.held {
            match &frame {
                Some(Ok(frame)) => {
                    if let (Some(left), Some(data)) = (&mut held.left, frame.data_ref()) {
                        *left = left.saturating_sub(data.remaining() as u64);
                    }
                    if ended {
                        held.finish(held.outcome);
                    }
                }
                None => held.finish(held.outcome),
                Some(Err(_)) if held.outcome == Outcome::Overload => held.finish(Outcome::Overload),
                Some(Err(_)) => held.finish(Outcome::Ignore),
            }
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
