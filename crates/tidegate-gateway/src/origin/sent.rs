//! [`Sent`]: how the sending of a request's body goes, as whoever awaits the answer sees it.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::body::BoxError;

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

/// Awaits an answer for `limit` at most, from the moment on in which the body last moved: a large upload is no
/// reason to give up. Cancel safe as far as `answer` is.
pub(super) async fn within<F: Future>(
    limit: Duration,
    sent: Option<&Sent>,
    answer: F,
) -> Result<F::Output, OriginError> {
    let late = |elapsed| OriginError::new(OriginErrorKind::HeadTimeout, elapsed);
    let Some(sent) = sent else { return timeout(limit, answer).await.map_err(late) };
    let mut answer = pin!(answer);
    loop {
        let due = sent.lock().moved + limit;
        match timeout_at(due, &mut answer).await {
            Ok(done) => return Ok(done),
            Err(elapsed) if sent.lock().moved + limit <= due => return Err(late(elapsed)),
            Err(_) => {}
        }
    }
}
