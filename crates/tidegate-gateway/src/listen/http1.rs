//! HTTP/1: hyper behind a screen, and a watch that sees the client go.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1::{Builder, Parts, UpgradeableConnection};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::body::SMALL_READS;
use crate::socket::Watch;

use super::answering::{Busyness, Requests};
use super::behind::Behind;
use super::connection::Stream;
use super::screened::{Desk, Screened};
use super::{Caller, ListenSettings, Serve, Shutdown};

/// After the last answer, unread bytes of the client are read and forgotten for so long, and so many, that a
/// reset does not overtake the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 4 * 1024 * 1024;
/// As many fields hyper takes by itself, in less time than it takes to be told so.
const HYPERS_FIELDS: usize = 100;

/// Serves an HTTP/1 connection to its end.
pub(super) fn serve<S: Serve>(
    stream: Stream,
    watch: Watch,
    caller: Arc<Caller<S>>,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> impl Future<Output = ()> + Send {
    let (desk, tls) = (Arc::new(Desk::default()), caller.client.tls);
    let account = caller.client.account.clone();
    let io = TokioIo::new(Screened::new(stream, Arc::clone(&desk), account, watch.clone(), settings));
    if caller.client.account.is_some() {
        watch.read_at_once(SMALL_READS);
    }
    let mut behind = Behind::new(caller.client.account.clone());
    let requests = Requests {
        caller,
        busy: Busyness { desk: Arc::clone(&desk), watch: watch.clone() },
        pace: settings.pace,
        memory_wait: settings.memory_wait,
    };
    let answer = service_fn(move |request| requests.answer(request));
    let mut connection = Some(builder(settings, tls).serve_connection(io, answer).with_upgrades());
    // A block, because an `async fn` keeps what it was given beside what it makes of it, in every idle connection.
    async move {
        let mut gone = Box::pin(watch.gone());
        let mut on_word = pin!(shutdown.on_next(false));
        let ear = shutdown.ear();
        let (mut left, mut draining, mut waits) = (false, false, false);
        let ended = poll_fn(|cx| {
            // This task's waker stays the same: a wait that was polled once needs no other poll before there is news.
            let first = !std::mem::replace(&mut waits, true);
            let news = first || ear.news();
            let mut over = false;
            while news && !over && on_word.as_mut().poll(cx).is_ready() {
                over = std::mem::replace(&mut draining, true);
                if let Some(connection) = &mut connection {
                    Pin::new(connection).graceful_shutdown();
                }
                on_word.set(shutdown.on_next(true));
            }
            // Before anything else is done for who has gone.
            if !first && desk.busy.load(Ordering::Relaxed) && watch.is_gone() {
                return Poll::Ready(None);
            }
            loop {
                let Some(polled) = connection.as_mut().map(|connection| Pin::new(connection).poll(cx)) else {
                    return Poll::Ready(None);
                };
                if let Poll::Ready(result) = polled {
                    return Poll::Ready(Some(result));
                }
                if !desk.rests() {
                    break;
                }
                // hyper never makes its buffer smaller. One that is made anew has none.
                connection = connection.take().and_then(UpgradeableConnection::into_parts).map(|parts| {
                    let Parts { mut io, read_buf, service, .. } = parts;
                    io.inner_mut().begins_anew(&read_buf);
                    builder(settings, tls).serve_connection(io, service).with_upgrades()
                });
            }
            if behind.poll_unpaid(&desk, &watch, cx).is_ready() {
                return Poll::Ready(None);
            }
            left = left || if first { gone.as_mut().poll(cx).is_ready() } else { watch.is_gone() };
            // What a client asked before it closed its side is answered if that can be done at once.
            if over || (left && desk.busy.load(Ordering::Relaxed)) {
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
            // Apart for the same reason.
            let _ = Box::pin(timeout(LINGER, watch.discard(LINGER_BYTES))).await;
        }
    }
}

fn builder(settings: &ListenSettings, tls: bool) -> Builder {
    let mut builder = Builder::new();
    // With it hyper reads nothing while it answers. It would find out only that the client has gone, which the watch
    // does, and take another buffer for that while the head keeps the last one. The end of TLS the watch does not see.
    builder.half_close(!tls).max_buf_size(settings.head_bytes.max(64 * 1024) + 1024);
    // The screen is stricter; these only must not be narrower than it.
    if settings.head_fields > HYPERS_FIELDS {
        builder.max_headers(settings.head_fields);
    }
    builder
}
