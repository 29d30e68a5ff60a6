//! A caller's future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::failure::BlockingError;
use super::piece::{Job, Piece};

/// Resolves to the work's result; dropped, it leaves.
pub(super) struct Run<F: Job<T>, T: Send + 'static> {
    pub(super) piece: Arc<Piece<F, T>>,
}

impl<F: Job<T>, T: Send + 'static> Future for Run<F, T> {
    type Output = Result<T, BlockingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.piece.poll(cx.waker())
    }
}

impl<F: Job<T>, T: Send + 'static> Drop for Run<F, T> {
    fn drop(&mut self) {
        self.piece.leave();
    }
}
