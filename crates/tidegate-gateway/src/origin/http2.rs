//! An exchange over HTTP/2: all of them share one connection.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{Request, Version};
use http_body::Body;
use tokio::time::timeout;

use crate::body::PaceSettings;
use crate::listen::send2;

use super::http1::Open;
use super::{Origin, OriginError, OriginErrorKind, Reply, ReplyBody, RequestBody};

/// Credit of the connection: at least a MiB, since all exchanges share it; of one stream: what may wait for its client.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const STREAM_WINDOW: u32 = 256 * 1024;
const FRAME: u32 = 16 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
const HEAD: u32 = 64 * 1024;

/// Sends `request` and waits for the answer's head.
pub(super) async fn exchange(
    origin: Arc<Origin>,
    request: Request<RequestBody>,
) -> Result<Reply, OriginError> {
    let (mut head, body) = request.into_parts();
    head.version = Version::HTTP_2;
    let mut sender = ready(&origin).await?;
    let ended = body.is_end_stream();
    let limit = origin.settings.head_timeout;
    let (response, stream) = sender.send_request(Request::from_parts(head, ()), ended).map_err(of_h2)?;
    // Sends while the answer is awaited, and after it began (gRPC); its end, early or not, ends the sending.
    let sending = (!ended).then(|| {
        let pace = PaceSettings { stall: limit, rate: 0, ..PaceSettings::default() };
        tokio::spawn(send2::send(stream, body, pace)).abort_handle()
    });
    let sending = Sending(sending);
    match timeout(limit, response).await {
        Ok(Ok(response)) => {
            let (head, body) = response.into_parts();
            Ok(Reply { head, body: ReplyBody::http2(body, sending, origin) })
        }
        Ok(Err(error)) => Err(of_h2(error)),
        Err(elapsed) => Err(OriginError::new(OriginErrorKind::HeadTimeout, elapsed)),
    }
}

/// Stops sending when the exchange is dropped.
#[derive(Debug)]
pub(super) struct Sending(Option<tokio::task::AbortHandle>);

impl Sending {
    pub(super) fn finished(&self) -> bool {
        self.0.as_ref().is_none_or(tokio::task::AbortHandle::is_finished)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A sender whose peer has room for one more stream.
async fn ready(origin: &Arc<Origin>) -> Result<SendRequest<Bytes>, OriginError> {
    let mut standing = origin.http2.lock().await;
    if let Some(sender) = &*standing {
        if let Ok(sender) = sender.clone().ready().await {
            return Ok(sender);
        }
    }
    origin.counts.dials.fetch_add(1, Relaxed);
    let opened = open(origin).await.inspect_err(|_| {
        origin.counts.dials_failed.fetch_add(1, Relaxed);
    })?;
    *standing = Some(opened.clone());
    drop(standing);
    opened.ready().await.map_err(of_h2)
}

async fn open(origin: &Arc<Origin>) -> Result<SendRequest<Bytes>, OriginError> {
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
