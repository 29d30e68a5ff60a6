//! Why bytes were not written.

use std::error::Error;
use std::fmt;
use std::io;

use bytes::Bytes;

use super::line::NotALine;
use super::pace::TooSlow;
use crate::budget::Full;

/// Bytes were not written, or not all of them.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The connection failed. It is closed.
    Io(io::Error),
    /// The peer took too few bytes. The connection was reset.
    TooSlow(TooSlow),
    /// More than a writer ever has room for at a time. None of it was accepted; the writer is as it was.
    TooLarge(TooLarge),
    /// Not one line. None of it was accepted; the writer is as it was.
    NotALine(NotALine),
    /// The [budget](super::Writers::budget) had no bytes for it in time. None of it was accepted; the writer is as it was.
    Memory(Full),
    /// The connection failed before, or another handle on it went without [`finish`](super::Share::finish).
    Ended,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::TooSlow(slow) => slow.fmt(f),
            Self::TooLarge(large) => large.fmt(f),
            Self::NotALine(not) => not.fmt(f),
            Self::Memory(full) => full.fmt(f),
            Self::Ended => f.write_str("the connection has ended"),
        }
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::TooSlow(slow) => Some(slow),
            Self::TooLarge(large) => Some(large),
            Self::NotALine(not) => Some(not),
            Self::Memory(full) => Some(full),
            Self::Ended => None,
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TooSlow> for WriteError {
    fn from(slow: TooSlow) -> Self {
        Self::TooSlow(slow)
    }
}

impl From<Full> for WriteError {
    fn from(full: Full) -> Self {
        Self::Memory(full)
    }
}

impl From<NotALine> for WriteError {
    fn from(not: NotALine) -> Self {
        Self::NotALine(not)
    }
}

impl From<TooLarge> for WriteError {
    fn from(large: TooLarge) -> Self {
        Self::TooLarge(large)
    }
}

/// A slow peer is [`TimedOut`](io::ErrorKind::TimedOut), too many bytes and what is no line are
/// [`InvalidInput`](io::ErrorKind::InvalidInput), a full budget is [`OutOfMemory`](io::ErrorKind::OutOfMemory), an ended connection is a [`BrokenPipe`](io::ErrorKind::BrokenPipe).
impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match error {
            WriteError::Io(error) => return error,
            WriteError::TooSlow(_) => io::ErrorKind::TimedOut,
            WriteError::TooLarge(_) | WriteError::NotALine(_) => io::ErrorKind::InvalidInput,
            WriteError::Memory(_) => io::ErrorKind::OutOfMemory,
            WriteError::Ended => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}

/// More bytes than there is ever room for at a time.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooLarge {
    /// What was offered, unless it came in pieces.
    pub bytes: Bytes,
    /// How many bytes that were.
    pub offered: u64,
    /// How many there may be at a time.
    pub room: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes were offered where there is room for {} at a time", self.offered, self.room)
    }
}

impl fmt::Debug for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TooLarge").field("offered", &self.offered).field("room", &self.room).finish()
    }
}

impl Error for TooLarge {}

/// Bytes were not accepted without waiting.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room now. These are the bytes.
    Full(Bytes),
    /// There never is: they are too many, or the connection has ended.
    Failed(WriteError),
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => write!(f, "there is no room for {} bytes now", bytes.len()),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl Error for TrySendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Full(_) => None,
            Self::Failed(error) => Some(error),
        }
    }
}

impl<E: Into<WriteError>> From<E> for TrySendError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
