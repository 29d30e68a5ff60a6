//! An exchange over HTTP/2: all of them share one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use h2::SendStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::{Request, Version};
use http_body::Body;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::body::PaceSettings;
use crate::listen::room::Chunk;
use crate::listen::send2;

use super::http1::Open;
use super::sent::{blame, within};
use super::{Origin, OriginError, OriginErrorKind, Reply, ReplyBody, RequestBody};

/// Credit of the connection: at least a MiB, since all exchanges share it; of one stream: what may wait for its client.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const STREAM_WINDOW: u32 = 256 * 1024;
const FRAME: u32 = 16 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
const HEAD: u32 = 64 * 1024;
/// How often it is asked whether the peer has room.
const AGAIN: Duration = Duration::from_millis(20);

/// Sends `request` and waits for the answer's head.
pub(super) async fn exchange(
    origin: Arc<Origin>,
    request: Request<RequestBody>,
) -> Result<Reply, OriginError> {
    let (mut head, mut body) = request.into_parts();
    head.version = Version::HTTP_2;
    let ended = body.is_end_stream();
    let sent = body.watch();
    let limit = origin.settings.head_timeout;
    // Waiting for room counts as well.
    let begun = begin(&origin, Request::from_parts(head, ()), ended);
    let (response, stream, place) = within(limit, None, begun).await??;
    // Sends while the answer is awaited, and after it began (gRPC); its end, early or not, ends the sending.
    let sending = (!ended).then(|| {
        let pace = PaceSettings { stall: limit, rate: 0, ..PaceSettings::default() };
        tokio::spawn(send2::send(stream, body, pace, None)).abort_handle()
    });
    let sending = Sending { task: sending, _place: place };
    match within(limit, sent.as_ref(), response).await? {
        Ok(response) => {
            let (head, body) = response.into_parts();
            Ok(Reply { head, body: ReplyBody::http2(body, sending, origin) })
        }
        Err(error) => Err(blame(sent, of_h2(error))),
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

/// Begins a stream when the peer has room for it; they take turns.
async fn begin(
    origin: &Arc<Origin>,
    head: Request<()>,
    ended: bool,
) -> Result<(ResponseFuture, SendStream<Chunk>, Place), OriginError> {
    let mut standing = origin.http2.lock().await;
    let kept = match &*standing {
        Some(sender) => sender.clone().ready().await.ok(),
        None => None,
    };
    let sender = match kept {
        Some(sender) => sender,
        None => {
            origin.counts.dials.fetch_add(1, Relaxed);
            let opened = open(origin).await.inspect_err(|_| {
                origin.counts.dials_failed.fetch_add(1, Relaxed);
            })?;
            *standing = Some(opened.clone());
            opened
        }
    };
    let place = Place::take(&origin.streams, || sender.current_max_send_streams()).await;
    let mut sender = sender.ready().await.map_err(of_h2)?;
    let (response, stream) = sender.send_request(head, ended).map_err(of_h2)?;
    Ok((response, stream, place))
}

async fn open(origin: &Arc<Origin>) -> Result<SendRequest<Chunk>, OriginError> {
    let (line, _) = origin.dialer.dial().await?;
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
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
