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

/// A call that may turn out to be a stream, and the count that it enters then. Or one of which it is not asked, or not any
/// more.
#[derive(Debug, Default)]
pub(super) struct BecomesStream(Option<(Pin<Box<Sleep>>, Limiter)>);

impl BecomesStream {
    /// A call that goes on from now.
    pub(super) fn new(streams: &Limiter) -> Self {
        Self(Some((Box::pin(sleep(AFTER)), streams.clone())))
    }

    /// Its place among the streams, said once: when it has gone on for long, if there is one. With none it keeps its permit, so
    /// that it stays counted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Permit> {
        let (timer, _) = self.0.as_mut()?;
        let Poll::Ready(()) = timer.as_mut().poll(cx) else { return None };
        self.0.take().and_then(|(_, streams)| place_if_free(&streams))
    }
}
