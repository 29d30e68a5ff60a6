//! HTTP/1: hyper reads on when the next frame is asked for, and that is when the last one is on the disk.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate::budget::{Budget, Urgency};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::store::Store;

/// What is read ahead of a connection; no more than an HTTP/2 connection may send ahead.
const READ: usize = 32 << 10;
/// What is taken to the disk at once where the budget has room for that.
const BATCH: usize = 256 << 10;
/// How long a write to the disk waits for more to go along: less than the write takes.
const MOMENT: Duration = Duration::from_millis(2);
const STALL: Duration = Duration::from_secs(30);

/// Serves a connection to its end.
pub(crate) async fn serve(stream: TcpStream, budget: Budget, store: Arc<Store>) -> io::Result<()> {
    // To take more to the disk at once is to grow: leased as long as the connection lasts, or not.
    let grown = budget.try_lease_for(Urgency::Growth, BATCH as u64 + READ as u64).ok();
    let batch = if grown.is_some() { BATCH } else { READ };
    let service = service_fn(move |request| {
        let (store, budget) = (Arc::clone(&store), budget.clone());
        async move { Ok::<_, Infallible>(answer(request, &budget, &store, batch).await) }
    });
    let connection = http1::Builder::new()
        .max_buf_size(READ)
        .timer(TokioTimer::new())
        .header_read_timeout(STALL)
        .serve_connection(TokioIo::new(stream), service);
    let ended = connection.await.map_err(io::Error::other);
    drop(grown);
    ended
}

/// How full the budget is, and who holds most of it.
pub(crate) fn status(budget: &Budget) -> String {
    let all = budget.parent().unwrap_or(budget);
    let mut text = format!("{} of {} bytes are held, {} at most\n", all.used(), all.limit(), all.peak());
    for holder in all.holders(8) {
        text += &format!("{:>10} bytes for {:>4} s by {}\n", holder.bytes, holder.held.as_secs(), holder.who);
    }
    text
}

async fn answer(
    request: Request<Incoming>,
    budget: &Budget,
    store: &Store,
    batch: usize,
) -> Response<Full<Bytes>> {
    let (code, text) = match *request.method() {
        Method::GET => (StatusCode::OK, status(budget)),
        Method::PUT => match receive(request, store, batch).await {
            Ok(bytes) => (StatusCode::CREATED, format!("{bytes} bytes\n")),
            Err(status) => (status, format!("{status}\n")),
        },
        _ => (StatusCode::METHOD_NOT_ALLOWED, "PUT or GET\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    response
}

async fn receive(request: Request<Incoming>, store: &Store, batch: usize) -> Result<u64, StatusCode> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let path = request.uri().path().to_owned();
    let mut upload = store.begin(&path, length).await?;
    let mut body = request.into_body();
    while let Some(frame) = timeout(STALL, body.frame()).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)? {
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let mut next = Ok(Some(frame));
        // What comes within a moment goes along, as far as there are bytes for it: a disk likes few large writes.
        while let Ok(Some(frame)) = next {
            if let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() {
                bytes += data.len();
                chunks.push(data);
            }
            if bytes >= batch {
                break;
            }
            next = timeout(MOMENT, body.frame()).await;
        }
        upload.write(chunks).await?;
    }
    upload.finish().await
}
