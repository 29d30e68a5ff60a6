//! Sends an answer's body on an HTTP/2 stream, no faster than the client gives credit.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, SendStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::body::{Ahead, BoxError, Pace, PaceSettings};

use super::room::{Chunk, Room};

/// How the sending of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it was sent, or its client or its source has gone.
    Over,
    /// The client took it more slowly than it must.
    TooSlowly,
}

/// Why an answer is cut off.
#[derive(Debug)]
enum Cut {
    TooSlow,
    For(Reason),
}

impl From<Reason> for Cut {
    fn from(reason: Reason) -> Self {
        Self::For(reason)
    }
}

/// Sends `body` to its end, or resets the stream. Returns when the client goes.
///
/// The body is polled only when there is credit for its next byte, and room on the connection if that has a bound,
/// so that what the client does not read stays where it comes from. One byte is asked for, not more: credit that an
/// idle stream holds is missing to others on the connection.
pub(crate) async fn send<B>(
    mut stream: SendStream<Chunk>,
    body: B,
    pace: PaceSettings,
    room: Option<Room>,
) -> Sent
where
    B: Ahead<Data = Bytes, Error = BoxError> + Unpin,
{
    let (reason, sent) = match send_all(&mut stream, body, Pace::new(pace), room).await {
        Ok(()) => return Sent::Over,
        Err(Cut::TooSlow) => (Reason::CANCEL, Sent::TooSlowly),
        Err(Cut::For(reason)) => (reason, Sent::Over),
    };
    stream.send_reset(reason);
    sent
}

async fn send_all<B>(
    stream: &mut SendStream<Chunk>,
    mut body: B,
    mut pace: Pace,
    room: Option<Room>,
) -> Result<(), Cut>
where
    B: Ahead<Data = Bytes, Error = BoxError> + Unpin,
{
    let mut begun = false;
    loop {
        // What has begun may be over, and its end needs no credit (RFC 9113 §6.9.1).
        let over = begun && is_over(stream, &mut body, &mut pace).await?;
        if !over {
            credit(stream, &mut pace, 1).await?;
            if let Some(room) = room.as_ref().filter(|room| !room.is_free()) {
                drop(lease(room, stream, &mut pace, 1).await?);
            }
        }
        begun = true;
        let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Pending => poll_gone(stream, cx).map(Err),
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
        })
        .await?;
        let frame = match frame {
            None => return Ok(end(stream)?),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                tracing::debug!(%error, "an answer ended early");
                return Err(Reason::INTERNAL_ERROR.into());
            }
        };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let credit = credit(stream, &mut pace, data.len()).await?.min(data.len());
                    let chunk = match &room {
                        None => Chunk::from(data.split_to(credit)),
                        Some(room) => {
                            let lease = lease(room, stream, &mut pace, credit).await?;
                            Chunk::leased(data.split_to(lease.num_permits().min(credit)), lease)
                        }
                    };
                    pace.moved(chunk.remaining() as u64).map_err(|_| Cut::TooSlow)?;
                    let last = data.is_empty() && body.is_end_stream();
                    stream.send_data(chunk, last).map_err(|_| Reason::CANCEL)?;
                    if last {
                        return Ok(());
                    }
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return Ok(stream.send_trailers(trailers).map_err(|_| Reason::CANCEL)?);
                }
            }
        }
    }
}

fn end(stream: &mut SendStream<Chunk>) -> Result<(), Reason> {
    stream.send_data(Bytes::new().into(), true).map_err(|_| Reason::CANCEL)
}

/// Waits for credit; at least one byte, for `wanted` at most.
async fn credit(stream: &mut SendStream<Chunk>, pace: &mut Pace, wanted: usize) -> Result<usize, Cut> {
    stream.reserve_capacity(wanted);
    poll_fn(|cx| poll_credit(stream, pace, cx)).await
}

/// Waits for credit (false), or until it is seen that none is needed any more.
async fn is_over<B>(stream: &mut SendStream<Chunk>, body: &mut B, pace: &mut Pace) -> Result<bool, Cut>
where
    B: Ahead<Data = Bytes, Error = BoxError> + Unpin,
{
    stream.reserve_capacity(1);
    let mut more = false;
    poll_fn(|cx| {
        if let Poll::Ready(credit) = poll_credit(stream, pace, cx) {
            return Poll::Ready(credit.map(|_| false));
        }
        if !more && ready!(body.poll_last(cx)) {
            return Poll::Ready(Ok(true));
        }
        more = true;
        Poll::Pending
    })
    .await
}

fn poll_credit(
    stream: &mut SendStream<Chunk>,
    pace: &mut Pace,
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Cut>> {
    if stream.capacity() > 0 {
        return Poll::Ready(Ok(stream.capacity()));
    }
    if let Poll::Ready(reason) = poll_gone(stream, cx) {
        return Poll::Ready(Err(reason.into()));
    }
    loop {
        match stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(0))) => {}
            Poll::Ready(Some(Ok(room))) => return Poll::Ready(Ok(room)),
            Poll::Ready(_) => return Poll::Ready(Err(Reason::CANCEL.into())),
            Poll::Pending => {
                ready!(pace.poll_stalled(cx));
                return Poll::Ready(Err(Cut::TooSlow));
            }
        }
    }
}

/// Waits for room; at least for one byte, for `wanted` at most.
async fn lease(
    room: &Room,
    stream: &mut SendStream<Chunk>,
    pace: &mut Pace,
    wanted: usize,
) -> Result<OwnedSemaphorePermit, Cut> {
    let meanwhile = |cx: &mut Context<'_>| match poll_gone(stream, cx) {
        Poll::Ready(reason) => Poll::Ready(reason.into()),
        Poll::Pending => pace.poll_stalled(cx).map(|_| Cut::TooSlow),
    };
    room.lease(wanted, meanwhile).await
}

fn poll_gone(stream: &mut SendStream<Chunk>, cx: &mut Context<'_>) -> Poll<Reason> {
    stream.poll_reset(cx).map(|reset| reset.unwrap_or(Reason::CANCEL))
}
