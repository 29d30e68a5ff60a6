//! One stream of an HTTP/2 connection, from its head to the end of its answer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::header::EXPECT;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::body::{Ahead, BoxError, ClientBody, PaceSettings, Received};

use crate::memory::{Tier, head_cost};

use super::credit::Place;
use super::date::dated;
use super::early::Early;
use super::room::{Chunk, Room};
use super::send2::{self, Sent};
use super::waiting::One;
use super::{Caller, Fault, Serve};

/// What is wrong with a head, if it is not what the h2 crate looks for.
pub(super) fn fault_in(headers: &HeaderMap, most: usize) -> Option<Fault> {
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

/// So long, and so many bytes, a client that has its answer may take to end its body: a form, not a film.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Refusals of one connection that wait to be read: few, since what a refused stream takes is not charged. Beyond it a
/// stream is reset.
const REFUSALS: usize = 8;

/// The refusals of one connection that wait to be read.
#[derive(Debug, Default)]
pub(super) struct Refusals(Arc<()>);

impl Refusals {
    /// Says a refusal, or resets the stream for `otherwise` if too many wait already.
    pub(super) fn say<B>(
        &self,
        streams: &mut JoinSet<Sent>,
        mut respond: SendResponse<Chunk>,
        otherwise: Reason,
        (pace, room): (PaceSettings, &Room),
        refusal: impl FnOnce() -> Response<B>,
    ) where
        B: Ahead<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
    {
        if Arc::strong_count(&self.0) > REFUSALS {
            respond.send_reset(otherwise);
            return;
        }
        let (refusal, room, counted) = (refusal(), room.clone(), Arc::clone(&self.0));
        streams.spawn(async move {
            let sent = send(refusal, respond, pace, room).await;
            drop(counted);
            sent
        });
    }
}

/// A stream that may begin.
pub(super) struct Begin {
    pub(super) request: Request<Received>,
    pub(super) respond: SendResponse<Chunk>,
    /// Its memory, if that is counted.
    pub(super) place: Option<Place>,
}

impl From<(One, Place)> for Begin {
    fn from((one, place): (One, Place)) -> Self {
        let One { request, respond, .. } = one;
        Self { request, respond, place: Some(place) }
    }
}

/// Answers a request; returns when the client has its answer or has gone.
pub(super) async fn answer<S: Serve>(
    Begin { request, mut respond, place }: Begin,
    caller: Arc<Caller<S>>,
    pace: PaceSettings,
    room: Room,
) -> Sent {
    let (leaves, left) = oneshot::channel();
    let (account, early) = (caller.client.account.clone(), Early::default());
    // What interim answers take, until it is surely written.
    let mut charged = Vec::new();
    let response = {
        let expects = request
            .headers()
            .get(EXPECT)
            .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let (asks, mut asked) = oneshot::channel();
        let asks = Some(asks).filter(|_| expects);
        let mut request = request.map(|body| ClientBody::http2(body, pace, asks, leaves));
        request.extensions_mut().insert(early.clone());
        // Gone before the body is sent, which may take long.
        let mut serving = pin!(S::serve(caller, request));
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
            for head in early.take(cx) {
                if let Some(account) = &account {
                    // Without memory for it, it is only a hint.
                    let Some(charge) = account.charge(head_cost(0, head.headers()), Tier::First) else {
                        continue;
                    };
                    charged.push(charge);
                }
                // An error means that the client has gone.
                let _ = respond.send_informational(head);
            }
            served.map(Some)
        })
        .await
    };
    let mut sent = Sent::Over;
    if let Some(response) = response {
        sent = send(response, respond, pace, room).await;
        let _ = timeout(LINGER, linger(left)).await;
    }
    drop((place, charged));
    sent
}

/// Reads and forgets what a client still sends although it has its answer: a stream that is reset in the middle of an
/// upload looks to many clients as if the answer had failed. (HTTP/1 has the same, `LINGER`.)
async fn linger(left: oneshot::Receiver<Received>) {
    // An error means that it had no body, or that the body has ended.
    let Ok(mut body) = left.await else { return };
    let mut more = LINGER_BYTES;
    while let Some(Ok(frame)) = poll_fn(|cx| body.poll_frame(cx)).await {
        more = more.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if more == 0 {
            return;
        }
    }
}

/// Sends an answer to its end.
async fn send<B>(
    response: Response<B>,
    mut respond: SendResponse<Chunk>,
    pace: PaceSettings,
    room: Room,
) -> Sent
where
    B: Ahead<Data = Bytes, Error = BoxError> + Unpin,
{
    let (mut head, body) = response.into_parts();
    dated(&mut head.headers);
    let ended = body.is_end_stream();
    match respond.send_response(Response::from_parts(head, ()), ended) {
        Ok(stream) if !ended => send2::send(stream, body, pace, Some(room)).await,
        // An error means that the client has gone.
        _ => Sent::Over,
    }
}
