//! [`LeasedBody`]: a body whose frames are leased until they are dropped.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::full::Full;
use super::leased::{LeasedBytes, weigh};
use super::node::Budget;
use super::wait::Leasing;

pin_project! {
    /// A body whose data is leased from a budget, frame by frame, until whoever took a frame drops it.
    ///
    /// What is not dropped is not read on: with a server that gives credit to its peer when the next frame is asked for, a
    /// slow reader reaches the peer. One frame at most, which the body below made before there was room for it, waits here.
    /// Trailers are not leased.
    ///
    /// **When full:** the next frame waits for its turn, as [`Leasing`] does; a frame that is larger than the budget will
    /// ever be is an error. **When cancelled:** dropped, it leaves the line; frames that were taken stay leased.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use tidegate::budget::{Budget, LeasedBody};
    ///
    /// let budget = Budget::new("bodies", 1000);
    /// let mut body = LeasedBody::new(Full::new(Bytes::from("hello")), &budget);
    /// let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    /// assert_eq!((&*frame, budget.used()), (&b"hello"[..], 5));
    /// drop(frame);
    /// assert_eq!(budget.used(), 0);
    /// # });
    /// ```
    #[derive(Debug)]
    pub struct LeasedBody<B> {
        #[pin]
        body: B,
        budget: Budget,
        waits: Option<(Leasing, Bytes)>,
    }
}

impl<B> LeasedBody<B> {
    /// The frames of `body`, leased from `budget`.
    pub fn new(body: B, budget: &Budget) -> Self {
        Self { body, budget: budget.clone(), waits: None }
    }
}

impl<B: Body<Data = Bytes>> Body for LeasedBody<B> {
    type Data = LeasedBytes;
    type Error = LeasedBodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<LeasedBytes>, Self::Error>>> {
        let mut this = self.project();
        loop {
            if let Some((leasing, _)) = this.waits {
                let leased = ready!(Pin::new(leasing).poll(cx));
                let Some((_, bytes)) = this.waits.take() else { return Poll::Ready(None) };
                let frame = leased.map(|lease| Frame::data(LeasedBytes::new(bytes, lease)));
                return Poll::Ready(Some(frame.map_err(LeasedBodyError::Full)));
            }
            let Some(frame) = ready!(this.body.as_mut().poll_frame(cx)) else { return Poll::Ready(None) };
            match frame.map(Frame::into_data) {
                Err(error) => return Poll::Ready(Some(Err(LeasedBodyError::Body(error)))),
                Ok(Ok(data)) => {
                    let (bytes, kept) = weigh(data);
                    *this.waits = Some((this.budget.lease(kept), bytes));
                }
                Ok(Err(other)) => {
                    let trailers = other.into_trailers().map(Frame::trailers);
                    // Of a kind that does not exist yet: nothing to hand on.
                    let Ok(trailers) = trailers else { continue };
                    return Poll::Ready(Some(Ok(trailers)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waits.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, here) =
            (self.body.size_hint(), self.waits.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64));
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(here));
        }
        hint.set_lower(hint.lower().saturating_add(here));
        hint
    }
}

/// A frame did not come.
#[derive(Debug)]
#[non_exhaustive]
pub enum LeasedBodyError<E> {
    /// The body below failed.
    Body(E),
    /// There was no room for it, and no place to wait, or there never will be.
    Full(Full),
}

impl<E: fmt::Display> fmt::Display for LeasedBodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Full(full) => full.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for LeasedBodyError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Body(error) => Some(error),
            Self::Full(full) => Some(full),
        }
    }
}
