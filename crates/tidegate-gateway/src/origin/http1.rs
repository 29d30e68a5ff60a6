//! An exchange over HTTP/1.1.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::UPGRADE;
use http::{Request, StatusCode};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tidegate::budget::Lease;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::memory::Memory;
use crate::socket::Watch;

use super::exchange::Leave;
use super::interim::Interim;
use super::repeat::is_idempotent;
use super::sent::{blame, within};
use super::written::{Noted, Written};
use super::{Origin, OriginError, OriginErrorKind, Reply, ReplyBody, RequestBody};

/// The most bytes of an answer's head, and of what is read of it at once: one byte less than where hyper's buffer would
/// double.
const HEAD: usize = 64 * 1024;
const LARGE_READS: usize = 64 * 1024 - 1;

/// What hyper may hold unwritten. Bodies hand it less, as far as memory has a bound.
const BUFFER: usize = 320 * 1024;

/// Bytes that are read at once until it is seen that the client takes them: less than hyper begins with, or
/// its buffers would grow while nobody reads. Small answers, the many, are read whole with their heads.
const FIRST_READS: usize = 4 * 1024 - 1;

/// Bytes that are read at once for a client whose streams take turns with frames of that size: two such pieces are
/// held while it does not read, one in hyper and one on its way. One byte less than where hyper's buffer would double.
const SMALL_READS: usize = 16 * 1024 - 1;

/// How long a kept connection may take to be ready: it is within microseconds, or not at all.
const SOON: Duration = Duration::from_millis(5);

/// A connection that outlives its exchanges. Dropping it closes the connection, whatever goes on over it.
#[derive(Debug)]
pub(super) struct Kept {
    sender: SendRequest<RequestBody>,
    line: Watch,
    task: Option<AbortHandle>,
    /// What its buffers take since an answer flowed freely.
    large: Option<Lease>,
    written: Written,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.close();
    }
}

impl Kept {
    pub(super) fn is_closed(&self) -> bool {
        self.task.is_none() || self.sender.is_closed()
    }

    /// Reads no more from the origin until it is asked to.
    pub(super) fn hold(&self) {
        self.line.hold();
    }

    /// Reads a little.
    pub(super) fn read_first(&self) {
        self.line.read_at_once(FIRST_READS);
    }

    /// The client takes what comes: from now on as much is read at once as there is room for, or as `small` reads take.
    /// False if there is no memory for that; then reading stays as it is.
    pub(super) fn read_freely(&mut self, small: bool, memory: Option<&Memory>) -> bool {
        if let (Some(memory), None) = (memory, &self.large) {
            self.large = memory.free_flow(small);
            if self.large.is_none() {
                return false;
            }
        }
        self.line.read_at_once(if small { SMALL_READS } else { LARGE_READS });
        true
    }

    /// Nobody uses it from now on: what of a large request it has written by now is not charged any more.
    pub(super) fn rest(&self) {
        self.line.narrow();
    }

    /// Does it hold large buffers, or a lot of a request?
    pub(super) fn is_large(&self) -> bool {
        self.large.is_some() || self.line.is_wide()
    }

    fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    async fn open(origin: &Arc<Origin>) -> Result<Self, OriginError> {
        origin.counts.dials.fetch_add(1, Relaxed);
        let opened = async {
            let (line, watch) = origin.dialer.dial().await?;
            let written = Written::default();
            let line = Noted::new(line, written.clone());
            let (sender, connection) = Builder::new()
                .max_buf_size(BUFFER)
                .max_header_size(HEAD)
                .handshake(TokioIo::new(line))
                .await
                .map_err(OriginError::of_hyper)?;
            let count = Open::new(origin);
            let task = tokio::spawn(async move {
                let _count = count;
                if let Err(error) = connection.with_upgrades().await {
                    tracing::debug!(%error, "a connection to the origin ended early");
                }
            });
            Ok(Self { sender, line: watch, task: Some(task.abort_handle()), large: None, written })
        };
        opened.await.inspect_err(|_| {
            origin.counts.dials_failed.fetch_add(1, Relaxed);
        })
    }
}

/// Counts a connection while it is open. Kept connections belong to the origin, so they must not own it.
pub(super) struct Open(Weak<Origin>);

impl Open {
    pub(super) fn new(origin: &Arc<Origin>) -> Self {
        origin.counts.open.fetch_add(1, Relaxed);
        Self(Arc::downgrade(origin))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(origin) = self.0.upgrade() {
            origin.counts.open.fetch_sub(1, Relaxed);
        }
    }
}

/// Sends `request` and waits for the answer's head.
pub(super) async fn exchange(
    origin: Arc<Origin>,
    mut request: Request<RequestBody>,
    leave: Arc<Leave>,
) -> Result<Reply, OriginError> {
    // A kept connection may be closed by the origin in the moment in which it is used.
    while let Some(mut kept) = origin.take() {
        // Not ready means that an early answer left its request's body behind: that may take for ever.
        if !matches!(timeout(SOON, kept.sender.ready()).await, Ok(Ok(()))) {
            continue;
        }
        let body = request.body().copy();
        let failed = match attempt(&origin, kept, request, &leave).await {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        let written = failed.unsent.is_none();
        let again = || failed.written.request(body?).filter(may_repeat);
        request = match failed.unsent {
            _ if leave.left() => return Err(failed.error),
            Some(request) => request,
            None if failed.error.kind() == OriginErrorKind::Reset => match again() {
                Some(request) => request,
                None => return Err(failed.error),
            },
            None => return Err(failed.error),
        };
        origin.counts.repeats.fetch_add(1, Relaxed);
        if written {
            // The origin may have seen it: once more on a new connection, and then no more.
            break;
        }
    }
    // Boxed, because dialing is rare and its state, TLS included, is several times that of an exchange.
    let kept = Box::pin(Kept::open(&origin)).await?;
    attempt(&origin, kept, request, &leave).await.map_err(|failed| failed.error)
}

struct Failed {
    error: OriginError,
    /// The request, if nothing of it was written.
    unsent: Option<Request<RequestBody>>,
    /// Otherwise its head.
    written: Written,
}

async fn attempt(
    origin: &Arc<Origin>,
    mut kept: Kept,
    mut request: Request<RequestBody>,
    leave: &Arc<Leave>,
) -> Result<Reply, Failed> {
    kept.read_first();
    leave.attach(&kept.line);
    if leave.left() {
        kept.line.half_close();
    }
    let sent = request.body_mut().watch();
    request.body_mut().goes_over(&kept.line, origin.settings.memory.as_ref());
    Interim::attach(&mut request);
    kept.written.head_comes();
    let answer = kept.sender.try_send_request(request);
    let answered = within(origin.settings.head_timeout, sent.as_ref(), answer).await;
    leave.detach();
    match answered {
        Ok(Ok(response)) => {
            if leave.left() {
                // Our side is closed: the connection serves nobody after this.
                kept.close();
            }
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                // A tunnel has buffers of its own.
                kept.line.read_at_once(usize::MAX);
                // hyper's task hands the connection over and ends by itself.
                kept.task = None;
            }
            let (head, body) = response.into_parts();
            Ok(Reply { head, body: ReplyBody::http1(body, kept, sent, Arc::clone(origin)) })
        }
        Ok(Err(mut error)) => {
            let unsent = error.take_message();
            let error = OriginError::of_hyper(error.into_error());
            Err(Failed { error: blame(sent, error), unsent, written: kept.written.clone() })
        }
        Err(error) => Err(Failed { error, unsent: None, written: kept.written.clone() }),
    }
}

/// Does sending it twice do no harm?
fn may_repeat(request: &Request<RequestBody>) -> bool {
    is_idempotent(request.method()) && !request.headers().contains_key(UPGRADE)
}
