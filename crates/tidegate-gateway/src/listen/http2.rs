//! HTTP/2: the h2 crate driven directly, one task for the connection and one for each stream.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::sync::watch;
use tokio::task::{JoinSet, unconstrained};
use tokio::time::{Instant, sleep, timeout};

use crate::body::{Flow, Received};

use super::alarm::{self, Alarm, Alive, answered, silent};
use super::connection::Stream;
use super::credit::{Credit, News};
use super::frames::{Frames, Seen};
use super::room::{Chunk, Room};
use super::send2::Sent;
use super::sizes::LEAST_STREAM;
use super::stream2::{Begin, Refusals, answer, fault_in};
use super::unfinished::Unfinished;
use super::waiting::{LOOK, Waiting};
use super::{Caller, Fault, ListenSettings, Serve, Shutdown};

/// Credit of one stream, and of the connection, where memory has no bound (else it is [`Credit`]'s): 64 KiB is the
/// protocol's own; sixteen streams' worth together.
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
/// A client that is sent away may hear why for so long.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Rounds of frames of one connection before others have a turn.
const ROUNDS: usize = 16;

/// Serves an HTTP/2 connection to its end.
pub(super) async fn serve<S: Serve>(
    stream: Stream,
    caller: Arc<Caller<S>>,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) {
    let (service, client) = (&caller.service, &caller.client);
    let account = client.account.clone();
    let (stream, seen) = Frames::new(stream);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(settings.streams)
        .initial_window_size(if account.is_some() { LEAST_STREAM } else { STREAM_WINDOW })
        .max_frame_size(FRAME)
        .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(ERRORS));
    if account.is_none() {
        builder.initial_connection_window_size(CONNECTION_WINDOW);
    }
    let handshake = builder.handshake::<_, Chunk>(stream);
    let Ok(Ok(mut connection)) = timeout(settings.head_timeout, handshake).await else { return };
    let mut alive = connection.ping_pong().map(Alive::new);
    let room = Room::new(account.clone());
    let mut unfinished = Unfinished::new(settings, account.clone());
    let mut credit = account.map(|account| Credit::new(account, Arc::clone(&seen), room.clone()));
    let mut ears = credit.as_ref().map(Credit::ears);
    let mut waiting = Waiting::default();
    let refusals = Refusals::default();
    let said = (settings.pace, &room);
    let mut alarm = Alarm::new();
    let mut streams = JoinSet::new();
    let most = usize::try_from(settings.streams).unwrap_or(usize::MAX).saturating_mul(2);
    let mut idle = Box::pin(sleep(settings.idle_timeout));
    let (mut draining, mut idle_since, mut unread) = (false, Instant::now(), false);
    loop {
        let due = credit.as_ref().and_then(Credit::due);
        let looks = !waiting.is_empty() || credit.as_ref().is_some_and(Credit::could_starve);
        let again = looks.then(|| Instant::now() + LOOK);
        tokio::select! {
            accepted = next(&mut connection, &mut credit, &mut unfinished, &seen) => match accepted {
                Ok(Some(Ok((request, mut respond)))) if streams.len() + waiting.len() >= most => {
                    // Their clients reset them and their tasks have not ended yet.
                    drop(request);
                    respond.send_reset(Reason::REFUSED_STREAM);
                }
                Ok(Some(Ok((request, respond)))) => {
                    if let Some(fault) = fault_in(request.headers(), settings.head_fields) {
                        let (head, _body) = request.into_parts();
                        refusals.say(&mut streams, respond, Reason::ENHANCE_YOUR_CALM, said, || {
                            service.refuse(fault, client, Some(&head))
                        });
                        continue;
                    }
                    let Some(credit) = &mut credit else {
                        let begin = Begin { request: request.map(Received::new), respond, place: None };
                        streams.spawn(answer(begin, Arc::clone(&caller), settings.pace, room.clone()));
                        continue;
                    };
                    match waiting.enter(request, respond, credit) {
                        Ok(None) => {}
                        Ok(Some(begin)) => {
                            streams.spawn(answer(begin.into(), Arc::clone(&caller), settings.pace, room.clone()));
                        }
                        Err(mut one) => {
                            // Not even its head has room to wait. Nothing was done with it.
                            credit.account().memory().refused();
                            one.respond.send_reset(Reason::REFUSED_STREAM);
                        }
                    }
                }
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "an HTTP/2 connection ended early");
                    break;
                }
                Ok(None) => break,
                Err(fault) => {
                    // There is no stream yet that could be answered: this is for the figures and the log.
                    drop(service.refuse(fault, client, None));
                    // Who finds no memory has done nothing wrong, and may ask again (RFC 9113 §6.8).
                    let why = if fault == Fault::Memory { Reason::NO_ERROR } else { Reason::ENHANCE_YOUR_CALM };
                    say_last(connection, why).await;
                    break;
                }
            },
            Some(sent) = streams.join_next(), if !streams.is_empty() => {
                idle_since = Instant::now();
                unread = matches!(sent, Ok(Sent::TooSlowly));
                if unread {
                    idle.as_mut().reset(idle_since + settings.head_timeout.min(settings.idle_timeout));
                }
            }
            news = hear(&mut ears), if credit.is_some() => {
                if let Some(credit) = &mut credit {
                    credit.hear(news, streams.len() + waiting.len(), &mut connection);
                }
            }
            // Asked anew: they may have been acknowledged since, which alone does not begin another round.
            () = alarm.at(due, again) => if !is_overdue(&mut connection, credit.as_ref()).await {
                if let Some(credit) = &mut credit {
                    credit.look(&mut connection);
                }
            } else {
                // It has not acknowledged settings: it might send what it may no longer send for ever.
                tracing::debug!(peer = %client.peer, "settings were not acknowledged");
                say_last(connection, Reason::ENHANCE_YOUR_CALM).await;
                break;
            },
            () = shutdown.on_drain(), if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
            () = shutdown.on_abort() => break,
            () = idle.as_mut(), if !draining => {
                // Who did not read is as one who is new: it asks within the time of a head, or goes.
                let patience = if unread { settings.head_timeout } else { settings.idle_timeout };
                let due = idle_since + patience.min(settings.idle_timeout);
                if streams.is_empty() && waiting.is_empty() && Instant::now() >= due {
                    if unread {
                        // It may not read this either.
                        tracing::debug!(peer = %client.peer, "its answers were not read");
                        say_last(connection, Reason::NO_ERROR).await;
                        break;
                    }
                    draining = true;
                    connection.graceful_shutdown();
                } else {
                    idle.as_mut().reset(due.max(Instant::now() + Duration::from_secs(1)));
                }
            }
            () = silent(&mut alive) => {
                hear_all(&mut connection).await;
                if unfinished.waits() {
                    alarm::more_time(&mut alive);
                } else if !answered(&mut alive).await {
                    break;
                }
            }
        }
        if let Some(credit) = credit.as_mut().filter(|_| !waiting.is_empty()) {
            poll_fn(|cx| {
                waiting.forget_gone(cx);
                Poll::Ready(())
            })
            .await;
            while let Some(begin) = waiting.next(credit) {
                streams.spawn(answer(begin.into(), Arc::clone(&caller), settings.pace, room.clone()));
            }
            while let Some(one) = waiting.overdue(settings.memory_wait) {
                credit.account().memory().refused();
                let (head, _body) = one.request.into_parts();
                refusals.say(&mut streams, one.respond, Reason::REFUSED_STREAM, said, || {
                    service.refuse(Fault::Memory, client, Some(&head))
                });
            }
        }
    }
    // Dropping the set drops every answer that is still being made: the client has gone.
}

type Accepted = Option<Result<(Request<RecvStream>, SendResponse<Chunk>), h2::Error>>;
type Wire = Connection<Frames<Stream>, Chunk>;

/// Tells the client that it goes, and why, for as long as it may take to hear that.
async fn say_last(mut connection: Wire, why: Reason) {
    connection.abrupt_shutdown(why);
    let _ = timeout(LAST_WORD, async { while let Some(Ok(_)) = connection.accept().await {} }).await;
}

/// Reads what has come: who is about to be sent away for silence may have spoken while the gate did something else.
async fn hear_all(connection: &mut Wire) {
    let reading = poll_fn(|cx| {
        // What it comes to is seen when the next stream is asked for.
        let _ = connection.poll_closed(cx);
        Poll::Ready(())
    });
    unconstrained(reading).await;
}

/// Are there settings that the client should have acknowledged by now?
async fn is_overdue(connection: &mut Wire, credit: Option<&Credit>) -> bool {
    if !credit.is_some_and(Credit::overdue) {
        return false;
    }
    hear_all(connection).await;
    credit.is_some_and(Credit::overdue)
}

/// The next stream, or what is wrong with a header block that has not ended. Between rounds of frames, when every stream
/// that has come was accepted, credit is looked after.
async fn next(
    connection: &mut Wire,
    credit: &mut Option<Credit>,
    unfinished: &mut Unfinished,
    seen: &Seen,
) -> Result<Accepted, Fault> {
    let mut rounds = 0;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(accepted) = pin!(connection.accept()).poll(cx) {
                unfinished.ended(seen);
                return Poll::Ready(Ok(accepted));
            }
            if let Poll::Ready(fault) = unfinished.poll(seen, cx) {
                return Poll::Ready(Err(fault));
            }
            if seen.many_crumbs() {
                if let Some(credit) = credit {
                    credit.pack();
                }
            }
            let said = credit.as_mut().is_some_and(|credit| credit.caught_up(connection));
            let reads_on = !unfinished.waits() && seen.next_round();
            if let Some(credit) = credit.as_mut().filter(|_| unfinished.waits()) {
                credit.reads_nothing();
            }
            if !reads_on && !said {
                return Poll::Pending;
            }
            rounds += 1;
            if rounds % ROUNDS == 0 {
                // Others have a turn.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Waits for news of what concerns credit.
async fn hear(ears: &mut Option<(Arc<Flow>, watch::Receiver<u64>)>) -> News {
    let Some((flow, asks)) = ears else { return std::future::pending().await };
    tokio::select! {
        () = flow.enough() => News::Consumed,
        // It lives as long as the memory, which the account keeps.
        _ = asks.changed() => News::Asked,
    }
}
