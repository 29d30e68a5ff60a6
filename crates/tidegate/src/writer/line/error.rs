//! Why something is no line.

use std::error::Error;
use std::fmt;
use std::io;

use crate::budget::Full;

/// What was to be written is not one line. Nothing of it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotALine {
    /// It is longer than agreed.
    TooLong {
        /// Its bytes.
        bytes: u64,
        /// The most a line may have.
        max: u64,
    },
    /// It holds a line break (`\n` or `\r`), and its reader would see two.
    Breaks {
        /// Where, in bytes from its start.
        at: u64,
    },
}

impl fmt::Display for NotALine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, max } => write!(f, "a line of {bytes} bytes, where {max} are agreed"),
            Self::Breaks { at } => write!(f, "a line with a line break in it, at byte {at}"),
        }
    }
}

impl Error for NotALine {}

/// No line was read.
#[derive(Debug)]
#[non_exhaustive]
pub enum LineError {
    /// The connection failed.
    Io(io::Error),
    /// The peer's line was too long. With [`OverLong::Skip`](super::OverLong::Skip) the next call reads the line after it.
    TooLong {
        /// The most that was asked for.
        max: u64,
        /// Bytes of it that were read and dropped.
        skipped: u64,
    },
    /// The stream ended in the middle of a line. What there is of it, perhaps half a command, is with
    /// [`LineReader::rest`](super::LineReader::rest).
    Cut {
        /// Its bytes so far.
        bytes: u64,
    },
    /// The [budget](super::LineReader::budget) had no bytes for more of it in time. What was read is kept.
    Memory(Full),
    /// An earlier call failed for good.
    Ended,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::TooLong { max, .. } => write!(f, "a line has more than {max} bytes"),
            Self::Cut { bytes } => write!(f, "the stream ended {bytes} bytes into a line"),
            Self::Memory(full) => full.fmt(f),
            Self::Ended => f.write_str("no more lines are read after a failure"),
        }
    }
}

impl Error for LineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Memory(full) => Some(full),
            Self::TooLong { .. } | Self::Cut { .. } | Self::Ended => None,
        }
    }
}

impl From<Full> for LineError {
    fn from(full: Full) -> Self {
        Self::Memory(full)
    }
}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A line that is too long is [`InvalidData`](io::ErrorKind::InvalidData), one that was cut an
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
impl From<LineError> for io::Error {
    fn from(error: LineError) -> Self {
        let kind = match error {
            LineError::Io(error) => return error,
            LineError::TooLong { .. } => io::ErrorKind::InvalidData,
            LineError::Cut { .. } => io::ErrorKind::UnexpectedEof,
            LineError::Memory(_) => io::ErrorKind::OutOfMemory,
            LineError::Ended => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
