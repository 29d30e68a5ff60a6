//! Bodies for those who test a proxy's memory: as large as asked for, or not read until somebody says so.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::watch;

/// Bytes of one frame.
const PIECE: usize = 64 * 1024;
static PIECES: [u8; PIECE] = [b'b'; PIECE];

/// A body of so many bytes, or one that never ends, made as it is taken.
#[derive(Debug)]
pub(super) struct Bulk {
    left: Option<u64>,
}

impl Bulk {
    /// `None`: without end.
    pub(super) fn new(bytes: Option<u64>) -> Self {
        Self { left: bytes }
    }
}

impl Body for Bulk {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let some = match &mut self.left {
            Some(0) => return Poll::Ready(None),
            Some(left) => {
                let some = usize::try_from(*left).map_or(PIECE, |left| left.min(PIECE));
                *left -= some as u64;
                some
            }
            None => PIECE,
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECES).slice(..some)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Uploads wait here until they may be read.
#[derive(Debug)]
pub(super) struct Dam(watch::Sender<bool>);

impl Dam {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// From now on uploads are read, also those that wait.
    pub(super) fn release(&self) {
        self.0.send_replace(true);
    }

    /// Waits for the release, reads nothing before. **When cancelled:** nobody waits.
    pub(super) async fn released(&self) {
        let mut released = self.0.subscribe();
        // The sender lives as long as this.
        let _ = released.wait_for(|released| *released).await;
    }
}

/// Reads a body to its end, and says how many bytes it had.
pub(super) async fn swallow(mut body: Incoming) -> Bytes {
    let mut read = 0u64;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    format!("{read}\n").into()
}
