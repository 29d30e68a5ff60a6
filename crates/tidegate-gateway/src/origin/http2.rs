//! An exchange over HTTP/2: all of them share one connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{Request, Version};
use http_body::Body;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::body::PaceSettings;
use crate::listen::room::Chunk;
use crate::listen::send2;
use crate::timer::Timer;

use super::http1::Open;
use super::interim::Interim;
use super::repeat::{copy, is_idempotent};
use super::sent::{Sent, blame, within};
use super::{Origin, OriginError, OriginErrorKind, Reply, ReplyBody, RequestBody};

/// Credit of the connection where memory has no bound (else its plan says): at least a MiB, since all exchanges share it;
/// of one stream: what may wait for its client.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const STREAM_WINDOW: u32 = 256 * 1024;
const FRAME: u32 = 16 * 1024;
const SEND_BUFFER: usize = 16 * 1024;
const HEAD: u32 = 64 * 1024;
/// How often it is asked whether the peer has room.
const AGAIN: Duration = Duration::from_millis(20);

/// Sends `request` and waits for the answer's head. Once more, if the origin surely did nothing with it, or if its
/// method allows it and it met a kept connection that broke; its whole body must be here.
pub(super) async fn exchange(
    origin: Arc<Origin>,
    request: Request<RequestBody>,
) -> Result<Reply, OriginError> {
    let idempotent = is_idempotent(request.method());
    let again = copy(&request);
    let failed = match attempt(&origin, request).await {
        Ok(reply) => return Ok(reply),
        Err(failed) => failed,
    };
    let may = match failed.trace {
        Trace::None => true,
        Trace::Broken => idempotent,
        Trace::Unknown => false,
    };
    let Some(again) = again.filter(|_| may) else { return Err(failed.error) };
    origin.counts.repeats.fetch_add(1, Relaxed);
    // A connection that goes away takes no other stream, so this opens a new one; a stream that was refused for
    // want of room finds room on the same connection, since its settings are known now.
    attempt(&origin, again).await.map_err(|failed| failed.error)
}

struct Failed {
    error: OriginError,
    trace: Trace,
}

/// What a failed request may have left at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// Nothing: it was not processed (RFC 9113 §8.7).
    None,
    /// A connection that stood before it broke over it.
    Broken,
    /// It was there, or nobody can say.
    Unknown,
}

impl Failed {
    fn unknown(error: OriginError) -> Self {
        Self { error, trace: Trace::Unknown }
    }

    fn of_h2(error: h2::Error, kept: bool, sent: Option<Sent>) -> Self {
        // h2 ends by a GOAWAY those streams only that are beyond its last one.
        let trace =
            if error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM)) {
                Trace::None
            } else if kept && error.is_io() {
                Trace::Broken
            } else {
                Trace::Unknown
            };
        Self { error: blame(sent, of_h2(error)), trace }
    }
}

async fn attempt(origin: &Arc<Origin>, request: Request<RequestBody>) -> Result<Reply, Failed> {
    let (mut head, mut body) = request.into_parts();
    let interim = head.extensions.remove::<Interim>();
    head.version = Version::HTTP_2;
    let ended = body.is_end_stream();
    let sent = body.watch();
    let limit = origin.settings.head_timeout;
    // Waiting for room counts as well.
    let mut timer = Timer::default();
    let Begun { mut response, stream, place, kept } = {
        let begun = pin!(begin(origin, Request::from_parts(head, ()), ended));
        within(limit, None, &mut timer, begun).await.map_err(Failed::unknown)??
    };
    // Sends while the answer is awaited, and after it began (gRPC); its end, early or not, ends the sending.
    let sending = (!ended).then(|| {
        let pace = PaceSettings { stall: limit, rate: 0, ..PaceSettings::default() };
        tokio::spawn(send2::send(stream, body, pace, None)).abort_handle()
    });
    let sending = Sending { task: sending, _place: place };
    let response = pin!(poll_fn(|cx| match &interim {
        None => Pin::new(&mut response).poll(cx),
        Some(interim) => interim.poll_answer(&mut response, cx),
    }));
    match within(limit, sent.as_ref(), &mut timer, response).await.map_err(Failed::unknown)? {
        Ok(response) => {
            let (head, body) = response.into_parts();
            Ok(Reply { head, body: ReplyBody::http2(body, sending, Arc::clone(origin)) })
        }
        Err(error) => Err(Failed::of_h2(error, kept, sent)),
    }
}

/// Stops sending when the exchange is dropped, and gives its place back.
#[derive(Debug)]
pub(super) struct Sending {
    task: Option<AbortHandle>,
    _place: Place,
}

impl Sending {
    pub(super) fn finished(&self) -> bool {
        self.task.as_ref().is_none_or(AbortHandle::is_finished)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Streams open on the connection. h2 would queue more than the peer allows, where nobody sees them.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: AtomicUsize,
    ended: Notify,
}

/// A stream's place among the open ones.
#[derive(Debug)]
struct Place(Arc<Streams>);

impl Place {
    /// Waits until fewer than `most()` are open.
    async fn take(streams: &Arc<Streams>, most: impl Fn() -> usize) -> Self {
        loop {
            let ended = streams.ended.notified();
            if streams.open.load(Relaxed) < most() {
                streams.open.fetch_add(1, Relaxed);
                return Self(Arc::clone(streams));
            }
            // The peer may change its mind about `most`, and says so to h2 only.
            let _ = timeout(AGAIN, ended).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.ended.notify_one();
    }
}

/// The connection, and whose turn it is to begin a stream on it.
#[derive(Debug)]
pub(super) struct Standing {
    /// Streams begin one after another: while one dials, or waits for room, the others wait for their turn, in order.
    turn: Semaphore,
    known: Mutex<Known>,
}

/// The connection, if one stands, and how the last dial failed, if it did.
#[derive(Debug, Default)]
struct Known {
    sender: Option<SendRequest<Chunk>>,
    failed: Option<(Instant, OriginErrorKind)>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), known: Mutex::default() }
    }
}

impl Standing {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Said to those that waited for a dial that failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the dial that others wait for as well failed")]
struct DialShared;

/// A stream that has begun.
struct Begun {
    response: ResponseFuture,
    stream: SendStream<Chunk>,
    place: Place,
    /// Did its connection stand before?
    kept: bool,
}

/// Begins a stream when the peer has room for it; they take turns.
async fn begin(origin: &Arc<Origin>, head: Request<()>, ended: bool) -> Result<Begun, Failed> {
    let asked = Instant::now();
    let standing = &origin.http2;
    let _turn = standing.turn.acquire().await; // nobody closes it
    let stands = standing.known().sender.clone();
    let ready = match stands {
        Some(sender) => sender.ready().await.ok(),
        None => None,
    };
    let kept = ready.is_some();
    let sender = match ready {
        Some(sender) => sender,
        None => {
            // Whoever waited while a dial failed has its answer; or they would fail one after the other.
            let failed = standing.known().failed.filter(|(at, _)| *at >= asked);
            if let Some((_, kind)) = failed {
                return Err(Failed::unknown(OriginError::new(kind, DialShared)));
            }
            origin.counts.dials.fetch_add(1, Relaxed);
            match open(origin).await {
                Ok(opened) => {
                    standing.known().sender = Some(opened.clone());
                    opened
                }
                Err(error) => {
                    origin.counts.dials_failed.fetch_add(1, Relaxed);
                    standing.known().failed = Some((Instant::now(), error.kind()));
                    return Err(Failed::unknown(error));
                }
            }
        }
    };
    // What fails from here on fails before anything was written.
    let unsent = |error| Failed { error: of_h2(error), trace: Trace::None };
    let place = Place::take(&origin.streams, || sender.current_max_send_streams()).await;
    let mut sender = sender.ready().await.map_err(unsent)?;
    let (response, stream) = sender.send_request(head, ended).map_err(unsent)?;
    Ok(Begun { response, stream, place, kept })
}

async fn open(origin: &Arc<Origin>) -> Result<SendRequest<Chunk>, OriginError> {
    let (line, _) = origin.dialer.dial(None).await?;
    let memory = origin.settings.memory.as_ref();
    let window = memory.map_or(CONNECTION_WINDOW, |memory| memory.plan().origin_window());
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW.min(window / 4))
        .initial_connection_window_size(window)
        .max_frame_size(FRAME)
        .max_header_list_size(HEAD)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(line);
    let (sender, connection) = timeout(origin.settings.connect_timeout, handshake)
        .await
        .map_err(|elapsed| OriginError::new(OriginErrorKind::DialTimeout, elapsed))?
        .map_err(of_h2)?;
    let count = Open::new(origin);
    tokio::spawn(async move {
        let _count = count;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the origin ended early");
        }
    });
    Ok(sender)
}

pub(super) fn of_h2(error: h2::Error) -> OriginError {
    let kind = if error.is_io() || error.is_reset() || error.is_go_away() {
        OriginErrorKind::Reset
    } else {
        OriginErrorKind::Protocol
    };
    OriginError::new(kind, error)
}
