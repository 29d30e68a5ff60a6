//! HTTP/1: hyper behind a screen, and a watch that sees the client go.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::body::{BoxError, ClientBody, Free, SMALL_READS};
use crate::memory::{HEAD, head_cost};
use crate::socket::{UNWRITTEN, Watch};

use super::connection::Stream;
use super::screen::is_other_protocol;
use super::screened::{Desk, FAULT_PATH, Screened};
use super::{Client, Fault, ListenSettings, Serve, Shutdown};

/// After the last answer, unread bytes of the client are read and forgotten for so long, and so many, that a
/// reset does not overtake the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 4 * 1024 * 1024;

/// Serves an HTTP/1 connection to its end.
pub(super) async fn serve<S: Serve>(
    stream: Stream,
    watch: Watch,
    client: Arc<Client>,
    service: Arc<S>,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) {
    let desk = Arc::new(Desk::default());
    let io = TokioIo::new(Screened::new(stream, Arc::clone(&desk), client.account.clone(), settings));
    if client.account.is_some() {
        watch.read_at_once(SMALL_READS);
    }
    let (pace, memory_wait) = (settings.pace, settings.memory_wait);
    let for_bodies = watch.clone();
    let for_requests = Arc::clone(&desk);
    let answer = service_fn(move |request: Request<Incoming>| {
        let desk = Arc::clone(&for_requests);
        desk.busy.store(true, Ordering::Relaxed);
        let (service, client, watch) = (Arc::clone(&service), Arc::clone(&client), for_bodies.clone());
        // Boxed, because hyper would keep its room for as long as the connection is idle.
        Box::pin(async move {
            if let Some(fault) = desk.fault.get().filter(|_| request.uri().path() == FAULT_PATH) {
                let mut response = service.refuse(*fault, &client);
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return Ok::<_, Infallible>(response.map(|body| Busy { body, desk, watch }));
            }
            if !desk.pay(&client, &request, memory_wait).await {
                let mut response = service.refuse(Fault::Memory, &client);
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return Ok(response.map(|body| Busy { body, desk, watch }));
            }
            // After these the screen sees nothing any more, so nothing but the other protocol may follow.
            let last = request.method() == http::Method::CONNECT
                || request.headers().get_all(UPGRADE).iter().any(|to| is_other_protocol(to.as_bytes()));
            let free = (client.account.as_ref())
                .filter(|_| !request.body().is_end_stream())
                .map(|account| Free::new(account.memory(), &watch));
            let request = request.map(|body| ClientBody::http1(body, pace, free));
            let mut response: Response<S::Body> = service.serve(request, client).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                desk.tunnel.store(true, Ordering::Relaxed);
            } else if last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Busy { body, desk, watch }))
        })
    });
    let connection = Builder::new()
        .half_close(false)
        // The screen is stricter; these only must not be narrower than it.
        .max_headers(settings.head_fields)
        .max_buf_size(settings.head_bytes.max(64 * 1024) + 1024)
        .serve_connection(io, answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut gone = pin!(watch.gone());
    let mut on_drain = pin!(shutdown.on_drain());
    let mut on_abort = pin!(shutdown.on_abort());
    let ear = shutdown.ear();
    let (mut left, mut draining, mut waits) = (false, false, false);
    let ended = poll_fn(|cx| {
        // This task's waker stays the same: a wait that was polled once needs no other poll before there is news.
        let news = !waits || ear.news();
        waits = true;
        if news && !draining && on_drain.as_mut().poll(cx).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        left = left || gone.as_mut().poll(cx).is_ready();
        // What a client asked before it closed its side is answered if that can be done at once.
        if (left && desk.busy.load(Ordering::Relaxed)) || (news && on_abort.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await;
    if let Some(Err(error)) = &ended {
        tracing::debug!(%error, "an HTTP/1 connection ended early");
    }
    // A tunnel's bytes are for the tunnel.
    if matches!(ended, Some(Ok(()))) && !left && !desk.tunnel.load(Ordering::Relaxed) {
        let _ = timeout(LINGER, watch.discard(LINGER_BYTES)).await;
    }
}

impl Desk {
    /// Charges a request until its answer is written; false if there is no memory for it in time. One that comes before
    /// the last answer is written goes on with what that one had.
    async fn pay(&self, client: &Client, request: &Request<Incoming>, within: Duration) -> bool {
        let Some(account) = &client.account else { return true };
        if self.charge.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return true;
        }
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let more = head_cost(target, request.headers()).saturating_sub(HEAD);
        let charge = account.request(more, within).await;
        let paid = charge.is_some();
        if !paid {
            account.memory().refused();
        }
        *self.charge.lock().unwrap_or_else(PoisonError::into_inner) = charge;
        paid
    }
}

/// An answer's body; while it lives, the connection is busy.
struct Busy<B> {
    body: B,
    desk: Arc<Desk>,
    watch: Watch,
}

impl<B> Drop for Busy<B> {
    fn drop(&mut self) {
        self.desk.busy.store(false, Ordering::Relaxed);
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Busy<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        ready!(self.watch.poll_owed(UNWRITTEN, cx));
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.watch.owes(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
