//! HTTP/2: the h2 crate driven directly, one task for the connection and one for each stream.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::header::EXPECT;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::body::{BoxError, ClientBody, PaceSettings};

use super::connection::Stream;
use super::room::{Chunk, Room};
use super::send2;
use super::{Client, Fault, ListenSettings, Serve, Shutdown};

/// Credit of one stream, and of the connection: what a body may send before it is read. 64 KiB is the protocol's
/// own; sixteen streams' worth together.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The largest frame: the protocol's own least, so that streams take turns.
const FRAME: u32 = 16 * 1024;
/// Answer bytes of one stream that may wait for the socket: a frame's worth. What all streams of a connection hold
/// together is bounded by [`Room`].
const SEND_BUFFER: usize = 16 * 1024;
/// Streams that were reset by either side and are still remembered, and errors that a client may cause, before the
/// connection is closed (CVE-2023-44487, CVE-2025-8671).
const RESETS: usize = 20;
const ERRORS: usize = 256;
/// A ping goes out so often, and must be answered within so long: what a NAT forgets after a minute is found.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Serves an HTTP/2 connection to its end.
pub(super) async fn serve<S: Serve>(
    stream: Stream,
    client: Arc<Client>,
    service: Arc<S>,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) {
    let handshake = Builder::new()
        .max_concurrent_streams(settings.streams)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(ERRORS))
        .handshake::<_, Chunk>(stream);
    let Ok(Ok(mut connection)) = timeout(settings.head_timeout, handshake).await else { return };
    let mut alive = connection.ping_pong().map(Alive::new);
    let mut streams = JoinSet::new();
    let room = Room::new();
    let most = usize::try_from(settings.streams).unwrap_or(usize::MAX).saturating_mul(2);
    let mut idle = Box::pin(sleep(settings.idle_timeout));
    let (mut draining, mut idle_since) = (false, Instant::now());
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, mut respond))) if streams.len() >= most => {
                    // Their clients reset them and their tasks have not ended yet.
                    drop(request);
                    respond.send_reset(Reason::REFUSED_STREAM);
                }
                Some(Ok((request, respond))) => {
                    let (service, client) = (Arc::clone(&service), Arc::clone(&client));
                    if let Some(fault) = fault_in(request.headers(), settings.head_fields) {
                        let refused = service.refuse(fault, &client);
                        streams.spawn(send(refused, respond, settings.pace, room.clone()));
                        continue;
                    }
                    streams.spawn(answer(request, respond, service, client, settings.pace, room.clone()));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "an HTTP/2 connection ended early");
                    break;
                }
                None => break,
            },
            Some(_) = streams.join_next(), if !streams.is_empty() => idle_since = Instant::now(),
            () = shutdown.on_drain(), if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
            () = shutdown.on_abort() => break,
            () = idle.as_mut(), if !draining => {
                let due = idle_since + settings.idle_timeout;
                if streams.is_empty() && Instant::now() >= due {
                    draining = true;
                    connection.graceful_shutdown();
                } else {
                    idle.as_mut().reset(due.max(Instant::now() + Duration::from_secs(1)));
                }
            }
            () = silent(&mut alive) => break,
        }
    }
    // Dropping the set drops every answer that is still being made: the client has gone.
}

/// What is wrong with a head, if it is not what the h2 crate looks for.
fn fault_in(headers: &HeaderMap, most: usize) -> Option<Fault> {
    if headers.len() > most {
        return Some(Fault::HeadTooLarge);
    }
    // RFC 9113 §8.2.1. HTTP/1 has white space around values, which is no part of them; here it would become one.
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let spaced = |value: &HeaderValue| blank(value.as_bytes().first()) || blank(value.as_bytes().last());
    headers
        .values()
        .any(spaced)
        .then_some(Fault::Malformed("a field's value begins or ends with white space"))
}

async fn answer<S: Serve>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Chunk>,
    service: Arc<S>,
    client: Arc<Client>,
    pace: PaceSettings,
    room: Room,
) {
    let response = {
        let expects = request
            .headers()
            .get(EXPECT)
            .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let (asks, mut asked) = oneshot::channel();
        let asks = Some(asks).filter(|_| expects);
        let request = request.map(|body| ClientBody::http2(body, pace, asks));
        // Gone before the body is sent, which may take long.
        let mut serving = pin!(service.serve(request, client));
        let mut waits = expects;
        poll_fn(|cx| {
            if respond.poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            let served = serving.as_mut().poll(cx);
            if waits && served.is_pending() {
                if let Poll::Ready(wanted) = Pin::new(&mut asked).poll(cx) {
                    waits = false;
                    if wanted.is_ok() {
                        let mut go_on = Response::new(());
                        *go_on.status_mut() = StatusCode::CONTINUE;
                        // An error means that the client has gone.
                        let _ = respond.send_informational(go_on);
                    }
                }
            }
            served.map(Some)
        })
        .await
    };
    if let Some(response) = response {
        send(response, respond, pace, room).await;
    }
}

/// Sends an answer to its end.
async fn send<B>(response: Response<B>, mut respond: SendResponse<Chunk>, pace: PaceSettings, room: Room)
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    let (head, body) = response.into_parts();
    let ended = body.is_end_stream();
    // An error means that the client has gone.
    if let Ok(stream) = respond.send_response(Response::from_parts(head, ()), ended) {
        if !ended {
            send2::send(stream, body, pace, Some(room)).await;
        }
    }
}

/// Asks a silent connection whether it is still there.
struct Alive {
    ping: PingPong,
    timer: Pin<Box<Sleep>>,
    asked: bool,
}

impl Alive {
    fn new(ping: PingPong) -> Self {
        Self { ping, timer: Box::pin(sleep(PING_AFTER)), asked: false }
    }
}

/// Resolves when a ping was not answered; never without pings. Cancel safe.
async fn silent(alive: &mut Option<Alive>) {
    let Some(alive) = alive else { return std::future::pending().await };
    poll_fn(|cx| {
        if alive.asked && alive.ping.poll_pong(cx).is_ready() {
            alive.asked = false;
            alive.timer.as_mut().reset(Instant::now() + PING_AFTER);
        }
        while Future::poll(alive.timer.as_mut(), cx).is_ready() {
            if alive.asked || alive.ping.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            alive.asked = true;
            alive.timer.as_mut().reset(Instant::now() + PONG_WITHIN);
            if alive.ping.poll_pong(cx).is_ready() {
                alive.asked = false;
            }
        }
        Poll::Pending
    })
    .await;
}
