//! [`LineReader`]: reads lines no longer than asked for, and no further than the line in hand.

use std::fmt;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::LineError;
use super::line::Line;
use crate::budget::{Budget, Full, Lease};

/// What a buffer starts with, and goes back to: a page, as much as most lines of a text protocol have together.
const FIRST: usize = 4096;

/// What happens to a line that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverLong {
    /// Nothing is read any more: whoever sends one does not keep the protocol. The default.
    #[default]
    Fail,
    /// It is read to its end and dropped, and the line after it is read.
    Skip {
        /// If it has more bytes than this in all, nothing is read any more: a line without an end is none.
        at_most: u64,
    },
}

/// Reads lines that end with `\n` or `\r\n`. Holds no more than the longest line asked for and its line break, or
/// 4 KiB.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use tidegate::writer::LineReader;
///
/// let mut lines = LineReader::new(&b"hello\r\nworld\n"[..]);
/// while let Some(line) = lines.read_line(80).await? {
///     println!("{}", String::from_utf8_lossy(&line));
/// }
/// # Ok::<(), tidegate::writer::LineError>(()) }).unwrap();
/// ```
///
/// A [`Line`] borrows its reader, so that nothing more is read while somebody is busy with it: a peer that sends faster
/// than its lines are dealt with finds its connection full.
pub struct LineReader<R> {
    io: R,
    held: Held,
    over_long: OverLong,
    /// Bytes of a line that is too long that were dropped, while its end is looked for.
    skipping: Option<u64>,
    ended: bool,
    budget: Option<Budget>,
    /// For the buffer, if there is a budget.
    charge: Option<Lease>,
}

impl<R> LineReader<R> {
    /// Reads from `io`, which needs no buffer of its own.
    #[must_use]
    pub fn new(io: R) -> Self {
        let (held, over_long) = (Held::default(), OverLong::Fail);
        Self { io, held, over_long, skipping: None, ended: false, budget: None, charge: None }
    }

    /// Deals so with lines that are too long.
    #[must_use]
    pub const fn over_long(mut self, over_long: OverLong) -> Self {
        self.over_long = over_long;
        self
    }

    /// Charges its buffer to `budget`: one page for most, more for a longer line while it is read. Waits there for at most
    /// [`MEMORY_WAIT`](Self::MEMORY_WAIT) before it reads more than it has bytes for.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// How long it waits for bytes of its budget: 30 s, as long as a peer may stall by default.
    pub const MEMORY_WAIT: Duration = Duration::from_secs(30);

    /// Leases what the buffer is about to take.
    async fn lease(&mut self, bytes: u64) -> Result<(), Full> {
        let Some(budget) = &self.budget else { return Ok(()) };
        match &mut self.charge {
            // A buffer that was given up for a smaller one.
            Some(charge) if charge.bytes() >= bytes => charge.shrink_to(bytes),
            Some(charge) => {
                let more = bytes - charge.bytes();
                if charge.try_grow(more).is_err() {
                    let lease = budget.lease(more).within(Self::MEMORY_WAIT).await?;
                    drop(charge.merge(lease)); // they are of one budget
                }
            }
            None => self.charge = Some(budget.lease(bytes).within(Self::MEMORY_WAIT).await?),
        }
        Ok(())
    }

    /// Memory it holds, bytes.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.buffer.capacity() as u64
    }

    /// What was read and is not a line yet.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        self.held.bytes()
    }

    /// The connection, and what was read from it and not consumed.
    #[must_use]
    pub fn into_parts(self) -> (R, Bytes) {
        let rest = Bytes::copy_from_slice(self.held.bytes());
        (self.io, rest)
    }

    fn fail(&mut self, error: LineError) -> LineError {
        self.ended = true;
        error
    }

    /// Drops what there is of a line that is too long; was that its end?
    fn skip(&mut self, max: u64) -> Result<(), LineError> {
        let OverLong::Skip { at_most } = self.over_long else {
            return Err(self.fail(LineError::TooLong { max, skipped: 0 }));
        };
        let end = self.held.find();
        let bytes = end.map_or(self.held.bytes().len(), |end| end + 1);
        self.held.consume(bytes);
        let skipped = self.skipping.unwrap_or_default().saturating_add(bytes as u64);
        self.skipping = Some(skipped);
        if skipped > at_most {
            return Err(self.fail(LineError::TooLong { max, skipped }));
        }
        if end.is_some() {
            self.skipping = None;
            return Err(LineError::TooLong { max, skipped });
        }
        Ok(())
    }
}

/// What the bytes in hand are.
enum Seen {
    Line { length: usize, line_break: usize },
    TooLong,
    Part,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// The next line, of at most `max` bytes without its line break; none at the end of the stream.
    ///
    /// **When full**: it never holds more than such a line; what the peer sends beyond it stays in the kernel, until the
    /// line was dropped and the next is asked for. **When cancelled**, what was read of a line is kept for the next call.
    ///
    /// # Errors
    /// If the line is [too long](OverLong), the stream ends within a line, the connection fails, or the budget has no bytes
    /// (then it may be called again).
    pub async fn read_line(&mut self, max: u64) -> Result<Option<Line<'_>>, LineError> {
        if self.ended {
            return Err(LineError::Ended);
        }
        // With the line break. Short lines are read several at a time.
        let most = usize::try_from(max.saturating_add(2)).unwrap_or(usize::MAX).max(FIRST);
        loop {
            if self.skipping.is_some() {
                self.skip(max)?;
            } else {
                match self.held.see(max) {
                    Seen::Line { length, line_break } => {
                        return Ok(Some(Line::new(&mut self.held, length, line_break)));
                    }
                    Seen::TooLong => self.skip(max)?,
                    Seen::Part => {}
                }
            }
            self.held.make_way();
            self.lease(self.held.next_capacity(most) as u64).await?;
            let room = self.held.make_room(most);
            if self.io.read_buf(&mut (&mut self.held.buffer).limit(room)).await? == 0 {
                let bytes = self.held.bytes().len() as u64;
                return match self.skipping {
                    _ if bytes > 0 => Err(self.fail(LineError::Cut { bytes })),
                    Some(skipped) => Err(self.fail(LineError::Cut { bytes: skipped })),
                    None => Ok(None),
                };
            }
        }
    }
}

impl<R> fmt::Debug for LineReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReader")
            .field("held", &self.held())
            .field("over_long", &self.over_long)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// What was read and not consumed.
#[derive(Default)]
pub(super) struct Held {
    buffer: Vec<u8>,
    /// Consumed already; moved away before the next read only.
    start: usize,
    /// Behind `start`, without a line break as far as looked for.
    searched: usize,
}

impl Held {
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.buffer.len());
        self.searched = 0;
    }

    /// Where the first line break is.
    fn find(&mut self) -> Option<usize> {
        let searched = self.searched;
        let found = self.bytes().iter().skip(searched).position(|byte| *byte == b'\n');
        self.searched = self.bytes().len();
        found.map(|at| at + searched)
    }

    fn see(&mut self, max: u64) -> Seen {
        let found = self.find();
        let bytes = self.bytes();
        match found {
            Some(end) => {
                // Seen again, should the line be too long for this call, or be leaked.
                let returns = bytes.get(..end).is_some_and(|line| line.ends_with(b"\r"));
                let length = end - usize::from(returns);
                self.searched = 0;
                if length as u64 > max {
                    Seen::TooLong
                } else {
                    Seen::Line { length, line_break: end + 1 - length }
                }
            }
            None => {
                let returns = usize::from(bytes.ends_with(b"\r"));
                if (bytes.len() - returns) as u64 > max { Seen::TooLong } else { Seen::Part }
            }
        }
    }

    /// Moves what is left to the front.
    fn make_way(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > FIRST {
            self.buffer = Vec::new(); // that was an unusually long line
        }
    }

    /// More bytes of a line that has `most` at most.
    fn more(&self, most: usize) -> usize {
        most.saturating_sub(self.buffer.len()).max(1)
    }

    /// The capacity with room for some more.
    fn next_capacity(&self, most: usize) -> usize {
        let (length, capacity) = (self.buffer.len(), self.buffer.capacity());
        if capacity > length { capacity } else { length + self.more(most).min(length.max(FIRST)) }
    }

    /// Makes that room, and says for how many bytes.
    fn make_room(&mut self, most: usize) -> usize {
        let (length, capacity) = (self.buffer.len(), self.next_capacity(most));
        self.buffer.reserve_exact(capacity - length);
        self.more(most).min(self.buffer.capacity() - length)
    }
}
