//! What becomes of a connection for which there is no place, and the bounded lane in which it is told.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::http::Problem;
use crate::limiter::{Limiter, QueueConfig};
use crate::refused::Refused;

use super::listen::Listen;

/// Refused connections that are told at a time: a few descriptors and less than a megabyte of memory.
const TOLD_AT_ONCE: u64 = 64;
/// How long one of them may take to hear it and close: several round trips of a slow network.
const TELLING: Duration = Duration::from_secs(1);
/// What it may send meanwhile; more than a request's head, and no upload.
const UNHEARD: usize = 64 * 1024;

/// What becomes of newcomers while there is no place for a connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// They wait in the kernel's accept queue. The default, and right between services of one house: nothing is lost,
    /// and clients wait where they would wait anyway.
    #[default]
    Pause,
    /// They are accepted, get an HTTP/1.1 503 with `Retry-After` and a problem body that tells the predicted wait, and
    /// are closed. The request is not read. Right at the edge, without TLS.
    Answer503,
    /// They are accepted, get an answer in the service's own protocol (see [`WhenFull::answer`]), and are closed.
    Answer(Answer),
    /// They are accepted and reset: the cheapest way to say no. A balancer tries the next server at once.
    Reset,
}

impl WhenFull {
    /// [`Answer`](Self::Answer) with what `say` makes of the refusal. Keep it short: what does not fit into an empty
    /// send buffer (some 10 KiB do anywhere) may be lost when many are refused at once.
    ///
    /// ```
    /// use tidegate::gate::accept::WhenFull;
    ///
    /// let when_full = WhenFull::answer(|refused| {
    ///     let after = refused.retry_after().map_or(1000, |after| after.as_millis());
    ///     format!("BUSY {after}\r\n").into_bytes()
    /// });
    /// # let _ = when_full;
    /// ```
    pub fn answer(say: impl Fn(&Refused) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Answer(Answer(Arc::new(say)))
    }
}

/// Makes the answer to a refused connection; made by [`WhenFull::answer`].
#[derive(Clone)]
pub struct Answer(Arc<Say>);

type Say = dyn Fn(&Refused) -> Vec<u8> + Send + Sync;

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// Where refused connections hear it: so many at a time, each for so long.
#[derive(Debug)]
pub(super) struct RefusalLane {
    room: Limiter,
}

impl RefusalLane {
    pub(super) fn new() -> Self {
        let queue = QueueConfig::none();
        let room = Limiter::builder().name("refusals").limit(TOLD_AT_ONCE).queue(queue).build();
        Self { room: room.unwrap_or_else(|_| Limiter::fixed(TOLD_AT_ONCE)) }
    }

    /// Tells `stream` that it is refused, or resets it. Returns at once. With `in_passing`, or when the lane is full, it
    /// is told without waiting for it to hear: the connection is closed when this returns.
    pub(super) fn refuse<L: Listen>(
        &self,
        when_full: &WhenFull,
        stream: L::Stream,
        refused: &Refused,
        in_passing: bool,
    ) {
        let said = match when_full {
            WhenFull::Pause | WhenFull::Reset => return L::reset(stream),
            WhenFull::Answer503 => http_answer(refused),
            WhenFull::Answer(Answer(say)) => say(refused),
        };
        let place = if in_passing { None } else { self.room.try_acquire(1).ok() };
        let Some(place) = place else { return L::tell_in_passing(stream, &said) };
        tokio::spawn(async move {
            // Whoever did not hear it in time is closed like the others.
            let _ = timeout(TELLING, tell(stream, said)).await;
            drop(place);
        });
    }
}

/// Says it, and waits until the peer has closed: closing with unread bytes would make the kernel send a reset, which can
/// overtake the answer (RFC 9112 §9.6).
async fn tell<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, said: Vec<u8>) -> io::Result<()> {
    stream.write_all(&said).await?;
    stream.shutdown().await?;
    let mut room = [0; 1024];
    let mut left = UNHEARD;
    while left > 0 {
        match stream.read(&mut room).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// The answer in HTTP/1.1, complete with its body.
fn http_answer(refused: &Refused) -> Vec<u8> {
    let problem = Problem::of(refused);
    let (status, body) = (problem.status, problem.json());
    let retry_after = match problem.retry_after_seconds() {
        Some(seconds) => format!("Retry-After: {seconds}\r\n"),
        None => String::new(),
    };
    format!(
        "HTTP/1.1 {} {}\r\n{retry_after}Content-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Refused"),
        body.len(),
    )
    .into_bytes()
}
