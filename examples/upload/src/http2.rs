//! HTTP/2: the h2 crate driven directly, because hyper gives credit back as soon as a frame is handed out.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use tidegate::budget::{Budget, Urgency};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::store::Store;

/// What a connection may send ahead in any case: what RFC 9113 §6.9.2 gives it, which cannot be taken back.
pub(crate) const SMALL: u32 = 65_535;
/// What it may send ahead where the budget has room for that: enough for 100 MB/s at 5 ms.
const LARGE: u32 = 512 << 10;
/// Streams at a time.
const STREAMS: u32 = 16;
/// A stream on which nothing comes for so long, though it may send, is reset.
const STALL: Duration = Duration::from_secs(30);

/// A refused client is read on for so long.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a connection to its end.
pub(crate) async fn serve(stream: TcpStream, budget: Budget, store: Arc<Store>) -> io::Result<()> {
    // To send more ahead is to grow: that is leased as long as the connection lasts, or not.
    let more = u64::from(LARGE - SMALL) * 3 / 2;
    let grown = budget.try_lease_for(Urgency::Growth, more).ok();
    let window = if grown.is_some() { LARGE } else { SMALL };
    // A stream may have a half: one whose disk is slow does not stop the others.
    let of_stream = window / 2;
    let handshake = Builder::new()
        .initial_connection_window_size(window)
        .initial_window_size(of_stream)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(16 << 10)
        .max_send_buffer_size(16 << 10)
        .handshake::<_, Bytes>(stream);
    let mut connection = timeout(STALL, handshake).await?.map_err(io::Error::other)?;
    let mut streams = JoinSet::new();
    loop {
        // Nothing else is waited for here: the peer's credit and resets are seen at once.
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { break };
                let (request, mut respond) = accepted.map_err(io::Error::other)?;
                if streams.len() >= STREAMS as usize * 2 {
                    // Reset by their client, and not ended yet (CVE-2023-44487).
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    continue;
                }
                let (store, budget) = (Arc::clone(&store), budget.clone());
                streams.spawn(async move {
                    let (head, mut body) = request.into_parts();
                    tokio::select! {
                        // Its client has gone: nobody needs the upload.
                        _ = poll_fn(|cx| gone(&mut respond, cx)) => {}
                        answer = answer(&head, &mut body, &budget, &store, of_stream) => {
                            send(respond, answer);
                            // Those that were refused may still send: a reset must not overtake the answer.
                            let _ = timeout(LINGER, rest(&mut body)).await;
                        }
                    }
                });
            }
            Some(_) = streams.join_next(), if !streams.is_empty() => {}
        }
    }
    drop(grown);
    Ok(())
}

fn gone(respond: &mut SendResponse<Bytes>, cx: &mut std::task::Context<'_>) -> Poll<()> {
    respond.poll_reset(cx).map(|_| ())
}

async fn answer(
    head: &Parts,
    body: &mut RecvStream,
    budget: &Budget,
    store: &Store,
    window: u32,
) -> (StatusCode, String) {
    match head.method {
        Method::GET => (StatusCode::OK, crate::http1::status(budget)),
        Method::PUT => match receive(head, body, store, window).await {
            Ok(bytes) => (StatusCode::CREATED, format!("{bytes} bytes\n")),
            Err(status) => (status, format!("{status}\n")),
        },
        _ => (StatusCode::METHOD_NOT_ALLOWED, "PUT or GET\n".to_owned()),
    }
}

/// Takes the body to the disk, and gives credit for what is there.
async fn receive(head: &Parts, body: &mut RecvStream, store: &Store, window: u32) -> Result<u64, StatusCode> {
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let mut upload = store.begin(head.uri.path(), length).await?;
    loop {
        let frame = timeout(STALL, body.data()).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
        let Some(frame) = frame else { break };
        let mut chunks = vec![frame.map_err(|_| StatusCode::BAD_REQUEST)?];
        let mut bytes = chunks.first().map_or(0, Bytes::len);
        // What is there already goes along, up to a half of what may be: the other half comes meanwhile.
        while bytes < window as usize / 2 {
            let next = poll_fn(|cx| Poll::Ready(body.poll_data(cx))).await;
            let Poll::Ready(Some(Ok(next))) = next else { break };
            bytes += next.len();
            chunks.push(next);
        }
        upload.write(chunks).await?;
        // They are on the disk: as many more may come.
        body.flow_control().release_capacity(bytes).map_err(|_| StatusCode::BAD_REQUEST)?;
    }
    // What came may be all that was promised, or the connection broke.
    if !body.is_end_stream() {
        return Err(StatusCode::BAD_REQUEST);
    }
    upload.finish().await
}

/// Reads what a refused client still sends, without giving it credit for more.
async fn rest(body: &mut RecvStream) {
    while let Some(Ok(_)) = body.data().await {}
}

fn send(mut respond: SendResponse<Bytes>, (status, text): (StatusCode, String)) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    // An error means that the client has gone.
    if let Ok(mut stream) = respond.send_response(response, false) {
        let _ = stream.send_data(Bytes::from(text), true);
    }
}
