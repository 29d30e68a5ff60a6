//! [`BecomesStream`]: when a gRPC call turns out to be a stream, and leaves the limiter.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate::{Limiter, Permit};
use tokio::time::{Sleep, sleep};

use super::unread::place_if_free;

/// A gRPC call that goes on sending or answering for longer than this is a stream: others are done within it, or are long
/// enough that their rate says nothing about the origin's load.
const AFTER: Duration = Duration::from_secs(1);

/// A call that may turn out to be a stream.
#[derive(Debug)]
pub(super) struct BecomesStream {
    timer: Pin<Box<Sleep>>,
    streams: Limiter,
}

impl BecomesStream {
    /// A call that goes on from now, and the count that it enters.
    pub(super) fn new(streams: &Limiter) -> Self {
        Self { timer: Box::pin(sleep(AFTER)), streams: streams.clone() }
    }

    /// Ready when it has gone on for long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }

    /// Its place among the streams. With none it keeps its permit, so that it stays counted.
    pub(super) fn place(self) -> Option<Permit> {
        place_if_free(&self.streams)
    }
}
