//! [`Frames`]: sees the frames of an HTTP/2 client as they pass, before the h2 crate does.
//!
//! It tells what h2 does not: that the client has acknowledged settings, that a header block has begun and not ended, and
//! how many bytes of blocks have come. A block can unpack to a hundred times its size, so h2 gets no more of them in one
//! round than [`ROUND`]; what they became is charged, or refused, before the next; and no frame of a block that takes more than
//! one is read to its end before that is charged, as far as its head comes alone. Nor does it get more small pieces of
//! bodies than fill [`CRUMBS`] of its buffers before those that nobody reads are packed.
//!
//! h2 asks for a frame's head, then for its payload: two system calls for each. Here the head of the next frame comes
//! with the payload of the one before.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of header blocks that h2 may unpack in one round: some twenty heads as small as they can be.
const ROUND: usize = 8 * 1024;

/// What an HTTP/2 client sends before its first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
/// A DATA frame below this leaves most of h2's buffer to others, and keeps it. Two of them within half a buffer count as one.
const CRUMB: usize = 8 * 1024;
const BUFFER: u64 = 8 * 1024;
/// Buffers with such frames that h2 may have read before they are looked after: 64 KiB.
const CRUMBS: usize = 8;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the reader of a connection and its driver tell each other.
#[derive(Debug)]
pub(super) struct Seen {
    acks: AtomicU32,
    round: AtomicUsize,
    stopped: AtomicBool,
    crumbs: AtomicUsize,
    /// Which header block has begun and not ended; 0 if none.
    block: AtomicU32,
    /// Bytes of it that h2 has unpacked, or keeps to do so with the next frame; with those of the frame that has begun.
    bytes: AtomicUsize,
    /// Are all of them here?
    whole: AtomicBool,
    /// So many it may have.
    allowed: AtomicUsize,
}

/// A header block that has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Which it is.
    pub(super) number: u32,
    /// Its bytes that are held for or in fields, or would be if the frame that has begun were read to its end.
    pub(super) bytes: usize,
    /// Was it? Otherwise it is not read on before these are [allowed](Seen::allow).
    pub(super) whole: bool,
}

/// A connection whose frames are seen.
#[derive(Debug)]
pub(super) struct Frames<S> {
    inner: S,
    seen: Arc<Seen>,
    sight: Sight,
    /// The head of the next frame, as far as it was read with the payload before it, and how much of it is left.
    next: [u8; FRAME_HEAD],
    left: std::ops::Range<usize>,
}

/// What can read past the end of a buffer in the same call.
pub(super) trait ReadBeyond: AsyncRead {
    /// Reads into `buffer`, and what comes after it into `beyond`, if that costs no other system call. Ready with how many
    /// bytes of `beyond` have come.
    fn poll_read_beyond(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        beyond: &mut [u8],
    ) -> Poll<io::Result<usize>>;
}

/// Where in the stream of frames a connection is.
#[derive(Debug, Default)]
struct Sight {
    /// Bytes of the preface or of a payload that are still to come.
    skip: usize,
    /// Do they belong to a header block?
    block: bool,
    /// The block that has begun: which it is, whether it goes on after this frame, and its bytes if it ever did.
    number: u32,
    open: bool,
    goes_on: bool,
    unpacked: Option<usize>,
    head: [u8; FRAME_HEAD],
    have: usize,
    /// Bytes that have passed, and where the last small frame was counted.
    passed: u64,
    crumb: u64,
}

impl Seen {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            acks: AtomicU32::new(0),
            round: AtomicUsize::new(ROUND),
            stopped: AtomicBool::new(false),
            crumbs: AtomicUsize::new(0),
            block: AtomicU32::new(0),
            bytes: AtomicUsize::new(0),
            whole: AtomicBool::new(true),
            allowed: AtomicUsize::new(0),
        })
    }

    /// Settings that the client has acknowledged so far.
    pub(super) fn acks(&self) -> u32 {
        self.acks.load(Relaxed)
    }

    /// Were there so many small pieces of bodies that it is worth packing them? Counts anew.
    pub(super) fn many_crumbs(&self) -> bool {
        let many = self.crumbs.load(Relaxed) >= CRUMBS;
        if many {
            self.crumbs.store(0, Relaxed);
        }
        many
    }

    /// The header block that has begun and not ended.
    pub(super) fn unfinished(&self) -> Option<Block> {
        let number = self.block.load(Relaxed);
        let (bytes, whole) = (self.bytes.load(Relaxed), self.whole.load(Relaxed));
        (number > 0).then_some(Block { number, bytes, whole })
    }

    /// So many bytes of the block that has begun may be read.
    pub(super) fn allow(&self, bytes: usize) {
        self.allowed.store(bytes, Relaxed);
    }

    /// Lets h2 read on; true if it was stopped.
    pub(super) fn next_round(&self) -> bool {
        self.round.store(ROUND, Relaxed);
        self.stopped.swap(false, Relaxed)
    }
}

impl<S> Frames<S> {
    pub(super) fn new(inner: S) -> (Self, Arc<Seen>) {
        let seen = Seen::new();
        let sight = Sight { skip: PREFACE, ..Sight::default() };
        (Self { inner, seen: Arc::clone(&seen), sight, next: [0; FRAME_HEAD], left: 0..0 }, seen)
    }
}

impl Sight {
    fn look(&mut self, mut bytes: &[u8], seen: &Seen) {
        let (mut block, begins) = (0, self.passed);
        let all = bytes.len();
        while !bytes.is_empty() {
            if self.skip > 0 {
                let some = self.skip.min(bytes.len());
                self.skip -= some;
                if self.block {
                    block += some;
                    self.payload(some);
                }
                bytes = bytes.get(some..).unwrap_or_default();
                continue;
            }
            let some = (FRAME_HEAD - self.have).min(bytes.len());
            if let (Some(to), Some(from)) =
                (self.head.get_mut(self.have..self.have + some), bytes.get(..some))
            {
                to.copy_from_slice(from);
            }
            self.have += some;
            bytes = bytes.get(some..).unwrap_or_default();
            if self.have == FRAME_HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                self.have = 0;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.block = kind == HEADERS || kind == CONTINUATION;
                if self.block {
                    block += FRAME_HEAD;
                    if kind == HEADERS {
                        seen.allow(0);
                    }
                    self.begins(kind == HEADERS, flags & END_HEADERS != 0);
                }
                let here = begins + (all - bytes.len()) as u64;
                if kind == DATA && self.skip < CRUMB && here >= self.crumb + BUFFER / 2 {
                    self.crumb = here;
                    seen.crumbs.fetch_add(1, Relaxed);
                }
                if kind == SETTINGS && flags & ACK != 0 {
                    seen.acks.fetch_add(1, Relaxed);
                }
            }
        }
        self.passed = begins + all as u64;
        if block > 0 {
            let left = seen.round.load(Relaxed).saturating_sub(block);
            seen.round.store(left, Relaxed);
            seen.block.store(if self.open { self.number } else { 0 }, Relaxed);
            seen.bytes.store(self.bytes().unwrap_or(0), Relaxed);
            seen.whole.store(self.skip == 0, Relaxed);
        }
    }

    /// Bytes of the block, if it takes more than one frame; with what is still to come of this one.
    fn bytes(&self) -> Option<usize> {
        self.unpacked.map(|bytes| bytes + if self.block { self.skip } else { 0 })
    }

    /// A frame of a header block begins: the first of its block, or the last, or both.
    fn begins(&mut self, first: bool, last: bool) {
        if first {
            self.number = self.number.checked_add(1).unwrap_or(1);
            self.unpacked = (!last).then_some(0);
        }
        (self.open, self.goes_on) = (true, !last);
        self.payload(0);
    }

    /// So much of the payload of such a frame has passed.
    fn payload(&mut self, some: usize) {
        self.unpacked = self.unpacked.map(|bytes| bytes + some);
        self.open = self.goes_on || self.skip > 0;
    }
}

impl<S: ReadBeyond + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let goes_on = this.sight.block && this.sight.skip > 0;
        let unpaid = goes_on && this.sight.bytes().is_some_and(|all| all > this.seen.allowed.load(Relaxed));
        if unpaid || this.seen.round.load(Relaxed) == 0 || this.seen.crumbs.load(Relaxed) >= CRUMBS {
            // The driver, which polls this, lets it go on.
            this.seen.stopped.store(true, Relaxed);
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if this.left.is_empty() {
            let ends_with_the_frame = this.sight.skip > 0 && this.sight.skip == buffer.remaining();
            let beyond = if ends_with_the_frame { &mut this.next[..] } else { &mut [] };
            let more = ready!(Pin::new(&mut this.inner).poll_read_beyond(cx, buffer, beyond))?;
            this.left = 0..more;
        } else {
            let some = this.left.start..this.left.end.min(this.left.start + buffer.remaining());
            this.left.start = some.end;
            buffer.put_slice(this.next.get(some).unwrap_or_default());
        }
        this.sight.look(buffer.filled().get(before..).unwrap_or_default(), &this.seen);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
