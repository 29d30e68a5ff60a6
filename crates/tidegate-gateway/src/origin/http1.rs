//! An exchange over HTTP/1.1.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::UPGRADE;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tidegate::budget::Lease;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::memory::Memory;
use crate::socket::Watch;
use crate::timer::Timer;

use super::exchange::Leave;
use super::interim::Interim;
use super::repeat::is_idempotent;
use super::sent::{Sent, blame, within};
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
    /// Of its waits for heads.
    timer: Timer,
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

    /// Can it be used? If not, then because an early answer left its request's body behind: that may take for ever.
    async fn is_ready(&mut self) -> bool {
        // Boxed, because most are ready at once.
        self.sender.is_ready() || matches!(Box::pin(timeout(SOON, self.sender.ready())).await, Ok(Ok(())))
    }

    /// A request is about to be written. How its body goes, if it has one.
    fn begins(&self, request: &mut Request<RequestBody>, origin: &Origin, leave: &Leave) -> Option<Sent> {
        self.read_first();
        leave.attach(&self.line);
        if leave.left() {
            self.line.half_close();
        }
        let sent = request.body_mut().watch();
        request.body_mut().goes_over(&self.line, origin.settings.memory.as_ref());
        Interim::attach(request);
        self.written.head_comes();
        sent
    }

    /// An answer has begun.
    fn answers(
        mut self,
        response: Response<Incoming>,
        sent: Option<Sent>,
        origin: &Arc<Origin>,
        leave: &Leave,
    ) -> Reply {
        if leave.left() {
            // Our side is closed: the connection serves nobody after this.
            self.close();
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // A tunnel has buffers of its own.
            self.line.read_at_once(usize::MAX);
            // hyper's task hands the connection over and ends by itself.
            self.task = None;
        }
        let (head, body) = response.into_parts();
        Reply { head, body: ReplyBody::http1(body, self, sent, Arc::clone(origin)) }
    }

    fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    async fn open(origin: &Arc<Origin>) -> Result<Self, OriginError> {
        origin.counts.dials.fetch_add(1, Relaxed);
        let opened = async {
            let place = origin.place().await?;
            let (line, watch) = origin.dialer.dial(place).await?;
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
            Ok(Self {
                sender,
                line: watch,
                task: Some(task.abort_handle()),
                large: None,
                written,
                timer: Timer::default(),
            })
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
///
/// A block with one attempt in it, and no `async fn` that calls another: each of them would keep the request twice, and all of
/// it is moved where it waits.
pub(super) fn exchange(
    origin: Arc<Origin>,
    mut request: Request<RequestBody>,
    leave: Arc<Leave>,
) -> impl Future<Output = Result<Reply, OriginError>> + Send {
    let limit = origin.settings.head_timeout;
    async move {
        let mut anew = false;
        loop {
            let (mut kept, new) = match if anew { None } else { origin.take() } {
                Some(mut kept) => {
                    if !kept.is_ready().await {
                        continue;
                    }
                    (kept, false)
                }
                // Boxed, because dialing is rare and its state, TLS included, is several times that of an exchange.
                None => (Box::pin(Kept::open(&origin)).await?, true),
            };
            let body = if new { None } else { request.body().copy() };
            let sent = kept.begins(&mut request, &origin, &leave);
            let answered = {
                let answer = pin!(kept.sender.try_send_request(request));
                within(limit, sent.as_ref(), &mut kept.timer, answer).await
            };
            leave.detach();
            let failed = match answered {
                Ok(Ok(response)) => return Ok(kept.answers(response, sent, &origin, &leave)),
                Ok(Err(error)) => Failed::of_hyper(error, sent),
                Err(error) => Failed { error, unsent: None },
            };
            if new || leave.left() {
                return Err(failed.error);
            }
            // A kept connection may be closed by the origin in the moment in which it is used.
            request = match failed.unsent {
                Some(request) => request,
                None => {
                    // The origin may have seen it: once more on a new connection, and then no more.
                    anew = true;
                    let again = body.filter(|_| failed.error.kind() == OriginErrorKind::Reset);
                    let again = again.and_then(|body| kept.written.request(body)).filter(may_repeat);
                    again.ok_or(failed.error)?
                }
            };
            origin.counts.repeats.fetch_add(1, Relaxed);
        }
    }
}

struct Failed {
    error: OriginError,
    /// The request, if nothing of it was written.
    unsent: Option<Request<RequestBody>>,
}

impl Failed {
    fn of_hyper(mut error: TrySendError<Request<RequestBody>>, sent: Option<Sent>) -> Self {
        let unsent = error.take_message();
        Self { error: blame(sent, OriginError::of_hyper(error.into_error())), unsent }
    }
}

/// Does sending it twice do no harm?
fn may_repeat(request: &Request<RequestBody>) -> bool {
    is_idempotent(request.method()) && !request.headers().contains_key(UPGRADE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::OriginSettings;

    #[test]
    fn an_exchange_takes_little_more_than_its_request() {
        let origin = Origin::new("http://127.0.0.1:1".parse().unwrap(), OriginSettings::default()).unwrap();
        let exchange = exchange(origin, Request::new(RequestBody::empty()), Arc::default());
        let (takes, request) = (size_of_val(&exchange), size_of::<Request<RequestBody>>());
        assert!(takes <= 4 * request, "{takes} bytes for a request of {request}");
    }
}
