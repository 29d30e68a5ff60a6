//! The first of two futures.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Which of two futures was first.
#[derive(Debug)]
pub(super) enum First<A, B> {
    /// The first one, also if both were ready.
    Left(A),
    /// The second one.
    Right(B),
}

impl<T> First<T, T> {
    /// What it resolved to, whichever it was.
    pub(super) fn either(self) -> T {
        match self {
            Self::Left(value) | Self::Right(value) => value,
        }
    }
}

/// Waits for either; the other one is dropped, and not polled any more once one is ready.
pub(super) async fn first<A: Future, B: Future>(left: A, right: B) -> First<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|cx| {
        if let Poll::Ready(value) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(value));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}
