//! [`Sent`]: how the sending of a request's body goes, as whoever awaits the answer sees it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::body::BoxError;
use crate::timer::Timer;

use super::{OriginError, OriginErrorKind};

/// How the sending of a body goes. Clones see the same.
#[derive(Clone, Debug)]
pub(super) struct Sent(Arc<Mutex<Progress>>);

#[derive(Debug)]
struct Progress {
    moved: Instant,
    broke: Option<BoxError>,
    over: bool,
}

/// Said to the origin's connection in the place of the client's own error.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client's body ended early")]
pub(super) struct Broke;

impl Sent {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Progress { moved: Instant::now(), broke: None, over: false })))
    }

    /// Bytes have gone to the origin.
    pub(super) fn moved(&self) {
        self.lock().moved = Instant::now();
    }

    /// The client's body ended early, by this.
    pub(super) fn broke(&self, error: BoxError) -> Broke {
        self.lock().broke = Some(error);
        Broke
    }

    /// Nobody sends any more of it, whether or not there is more.
    pub(super) fn ends(&self) {
        self.lock().over = true;
    }

    /// Does nobody?
    pub(super) fn is_over(&self) -> bool {
        self.lock().over
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong: if the client's body ended early, then that, whatever the connection made of it.
pub(super) fn blame(sent: Option<Sent>, error: OriginError) -> OriginError {
    match sent.and_then(|sent| sent.lock().broke.take()) {
        Some(broke) => OriginError::new(OriginErrorKind::ClientBody, broke),
        None => error,
    }
}

/// Why an answer is not waited for any longer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("none for {0:?}")]
struct Silent(Duration);

/// Awaits an answer for `limit` at most, from now on, and from the moment on in which the body last moved: a large upload
/// is no reason to give up. Cancel safe as far as `answer` is.
pub(super) fn within<F: Future>(
    limit: Duration,
    sent: Option<&Sent>,
    timer: &mut Timer,
    mut answer: Pin<&mut F>,
) -> impl Future<Output = Result<F::Output, OriginError>> {
    let begun = Instant::now();
    poll_fn(move |cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        loop {
            let moved = || sent.map_or(begun, |sent| sent.lock().moved.max(begun));
            let since = moved();
            ready!(timer.poll_over(since, limit, cx));
            if moved() == since {
                return Poll::Ready(Err(OriginError::new(OriginErrorKind::HeadTimeout, Silent(limit))));
            }
        }
    })
}
