//! [`Exchange`]: a request on its way to the origin, whose client may leave.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Request;

use crate::socket::Watch;

use super::sent::Sent;
use super::{Origin, OriginError, Reply, RequestBody, http1, http2};

/// A request on its way. Resolves to the answer's head; dropping it closes the connection (HTTP/1) or resets the
/// stream (HTTP/2).
#[must_use = "futures do nothing unless polled"]
pub struct Exchange {
    future: Pin<Box<dyn Future<Output = Result<Reply, OriginError>> + Send>>,
    leave: Option<Arc<Leave>>,
    sent: Option<Sent>,
}

/// How the origin is told that nobody waits any more.
#[derive(Debug, Default)]
pub(super) struct Leave {
    left: AtomicBool,
    line: Mutex<Option<Watch>>,
}

impl Exchange {
    pub(super) fn start(origin: Arc<Origin>, mut request: Request<RequestBody>) -> Self {
        let sent = request.body_mut().watch();
        if origin.settings.http2 {
            return Self { future: Box::pin(http2::exchange(origin, request)), leave: None, sent };
        }
        let leave = Arc::new(Leave::default());
        let future = Box::pin(http1::exchange(origin, request, Arc::clone(&leave)));
        Self { future, leave: Some(leave), sent }
    }

    /// Is there more of the request's body to come?
    #[must_use]
    pub fn still_sending(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| !sent.is_over())
    }

    /// Tells the origin that nobody waits any more, if that can be told without ending the exchange: on HTTP/1
    /// our side of the connection is closed. The exchange still resolves when the origin answers or closes.
    /// Returns false if the only way is to drop the exchange (HTTP/2, which resets the stream).
    pub fn leave(&self) -> bool {
        if let Some(leave) = &self.leave {
            leave.left.store(true, Ordering::SeqCst);
            if let Some(line) = &*leave.line.lock().unwrap_or_else(PoisonError::into_inner) {
                line.half_close();
            }
        }
        self.leave.is_some()
    }
}

impl Leave {
    /// The exchange goes over this line from now on.
    pub(super) fn attach(&self, line: &Watch) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.clone());
    }

    /// The exchange is over: its line belongs to somebody else.
    pub(super) fn detach(&self) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Has the client left?
    pub(super) fn left(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }
}

impl Future for Exchange {
    type Output = Result<Reply, OriginError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}
