//! [`Inbox`]: what of an HTTP/2 body has come and was not taken.
//!
//! h2 reads into buffers of 8 KiB and hands out slices of them: a piece of a few bytes that nobody takes keeps all of its
//! buffer. Pieces that wait are [packed](Inbox::pack) together, so that they take what they are charged for.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;

/// Pieces below this are copied: those from it on fill at least a buffer of their own.
const SMALL: usize = 8 * 1024;
/// Bytes that are packed together: a frame's worth. What is packed grows by so much at a time, so that little stays unused.
const PACKED: usize = 16 * 1024;
const GROWS: usize = 1024;

#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) stream: RecvStream,
    packed: VecDeque<Bytes>,
    /// The last of them, to which more is added.
    tail: Vec<u8>,
    /// What was found after them: the end of the data, or an error.
    end: Option<Option<h2::Error>>,
    /// Whoever waits for more.
    waker: Option<Waker>,
}

impl Inbox {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, packed: VecDeque::new(), tail: Vec::new(), end: None, waker: None }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.packed.is_empty() && self.tail.is_empty() && self.stream.is_end_stream()
    }

    /// Nobody takes any more: nothing is packed from here on. Bytes that are packed.
    pub(super) fn close(&mut self) -> usize {
        self.end = Some(None);
        self.packed.iter().map(Bytes::len).sum::<usize>() + self.tail.len()
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        if let Some(first) = self.packed.pop_front() {
            return Poll::Ready(Some(Ok(first)));
        }
        if !self.tail.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.tail).into())));
        }
        if let Some(end) = self.end.take() {
            return Poll::Ready(end.map(Err));
        }
        let polled = self.stream.poll_data(cx);
        if polled.is_pending() && !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        polled
    }

    /// Copies what waits in small pieces out of the buffers that it was read into. Its credit does not come back by that.
    pub(super) fn pack(&mut self) {
        if self.end.is_some() {
            return;
        }
        // Whoever waits for more hears of it as before.
        let waker = self.waker.clone().unwrap_or_else(|| Waker::noop().clone());
        let mut cx = Context::from_waker(&waker);
        while let Poll::Ready(polled) = self.stream.poll_data(&mut cx) {
            match polled {
                Some(Ok(piece)) => self.add(piece),
                Some(Err(error)) => self.end = Some(Some(error)),
                None => self.end = Some(None),
            }
            if self.end.is_some() {
                break;
            }
        }
    }

    fn add(&mut self, piece: Bytes) {
        if piece.len() >= SMALL || self.tail.len() + piece.len() > PACKED {
            if !self.tail.is_empty() {
                self.packed.push_back(std::mem::take(&mut self.tail).into());
            }
            if piece.len() >= SMALL {
                self.packed.push_back(piece);
                return;
            }
        }
        if self.tail.capacity() - self.tail.len() < piece.len() {
            self.tail.reserve_exact(piece.len().max(GROWS));
        }
        self.tail.extend_from_slice(&piece);
    }
}
