//! [`Push`]: bytes on their way, while somebody waits for them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::core::Core;
use super::error::WriteError;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// There is room.
    Room,
    /// Everything accepted is with the kernel.
    Out,
    /// And the peer has been told that no more comes.
    Closed,
}

/// Waits for a goal. Dropped, it leaves everything accepted where it is, for the next.
#[must_use = "bytes move while it is awaited"]
pub(super) struct Push<'c, W> {
    core: &'c mut Core<W>,
    goal: Goal,
}

impl<'c, W> Push<'c, W> {
    pub(super) const fn new(core: &'c mut Core<W>, goal: Goal) -> Self {
        Self { core, goal }
    }
}

impl<W: AsyncWrite + Unpin> Future for Push<'_, W> {
    type Output = Result<(), WriteError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let goal = self.goal;
        self.core.poll(goal, cx)
    }
}

impl<W> Drop for Push<'_, W> {
    fn drop(&mut self) {
        self.core.pause();
        self.core.discharge();
    }
}
