//! [`Line`]: a line that was read.

use std::fmt;
use std::ops::Deref;
use std::str::Utf8Error;

use bytes::Bytes;

use super::reader::Held;

/// A line without its line break, where it was read: while it is there nothing more is read. To keep it longer, take
/// it [out](Self::into_bytes).
#[must_use = "a line is gone once it is dropped"]
pub struct Line<'r> {
    held: &'r mut Held,
    /// Its bytes, and those of its line break.
    length: usize,
    line_break: usize,
}

impl<'r> Line<'r> {
    pub(super) const fn new(held: &'r mut Held, length: usize, line_break: usize) -> Self {
        Self { held, length, line_break }
    }

    /// It as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self)
    }

    /// A copy that needs no reader.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl Deref for Line<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.held.bytes().get(..self.length).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Line<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.held.consume(self.length + self.line_break);
    }
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?})", String::from_utf8_lossy(self))
    }
}
