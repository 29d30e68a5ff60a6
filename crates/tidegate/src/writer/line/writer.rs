//! [`LineWriter`]: writes lines that are lines.

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::error::NotALine;
use crate::writer::{Room, Sent, TrySendError, WriteError, Writer};

/// Writes lines: none longer than agreed, none with a line break in it, so that its reader sees the lines that were
/// written.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::writer::{LineWriter, Writer};
///
/// let (io, _peer) = tokio::io::duplex(1024);
/// let mut lines = LineWriter::new(Writer::over(io), 80);
/// lines.send("hello").await?;
/// assert!(lines.send("QUIT\r\nDELETE everything").await.is_err());
/// lines.finish().await?;
/// # Ok::<(), tidegate::writer::WriteError>(()) }).unwrap();
/// ```
///
/// **When full**, when cancelled and when dropped unfinished, it is as its [`Writer`] is.
#[derive(Debug)]
pub struct LineWriter<W> {
    writer: Writer<W>,
    max_line: u64,
}

impl<W> LineWriter<W> {
    /// Lines of at most `max_line` bytes without their line break; at most as many as the writer has
    /// [room](Writer::room_bytes) for with it.
    #[must_use]
    pub const fn new(writer: Writer<W>, max_line: u64) -> Self {
        let most = writer.room_bytes().saturating_sub(1);
        Self { writer, max_line: if max_line < most { max_line } else { most } }
    }

    /// The most bytes that a line may have.
    #[must_use]
    pub const fn max_line(&self) -> u64 {
        self.max_line
    }

    /// What it writes with: to be asked.
    #[must_use]
    pub const fn writer(&self) -> &Writer<W> {
        &self.writer
    }

    /// Writes something else than lines from here on.
    #[must_use]
    pub fn into_writer(self) -> Writer<W> {
        self.writer
    }
}

fn check(line: &Bytes, max: u64) -> Result<(), NotALine> {
    let bytes = line.len() as u64;
    if bytes > max {
        return Err(NotALine::TooLong { bytes, max });
    }
    match line.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(at) => Err(NotALine::Breaks { at: at as u64 }),
        None => Ok(()),
    }
}

const LINE_BREAK: Bytes = Bytes::from_static(b"\n");

impl<W: AsyncWrite + Unpin> LineWriter<W> {
    /// Waits for room for a line. **When full** and when cancelled, it is as [`Writer::ready`].
    ///
    /// # Errors
    /// If the connection fails, or the peer is too slow.
    pub async fn ready(&mut self) -> Result<LineRoom<'_, W>, WriteError> {
        let max_line = self.max_line;
        Ok(LineRoom { room: self.writer.ready().await?, max_line })
    }

    /// Accepts `line`, to which it adds the line break, once there is room, and returns when the kernel has it.
    /// **When full**, it waits; **when cancelled**, all of the line was accepted or nothing.
    ///
    /// # Errors
    /// If it is [not a line](NotALine), the connection fails, or the peer is too slow.
    pub async fn send(&mut self, line: impl Into<Bytes>) -> Result<(), WriteError> {
        let line = line.into();
        check(&line, self.max_line)?;
        self.ready().await?.write(line)?.flushed().await
    }

    /// Accepts `line` if there is room for it now.
    ///
    /// # Errors
    /// As [`Writer::try_send`], and if it is [not a line](NotALine).
    pub fn try_send(&mut self, line: impl Into<Bytes>) -> Result<Sent<'_, W>, TrySendError> {
        let line = line.into();
        check(&line, self.max_line).map_err(WriteError::from)?;
        self.writer.try_send_pieces([line, LINE_BREAK])
    }

    /// Waits until the kernel has every line accepted so far. **When full** and when cancelled, it is as
    /// [`Writer::flush`].
    ///
    /// # Errors
    /// If the connection fails, or the peer is too slow.
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        self.writer.flush().await
    }

    /// Ends it in order, and gives the connection back. **When full** and when cancelled, it is as
    /// [`Writer::finish`].
    ///
    /// # Errors
    /// If the connection fails, or the peer is too slow.
    pub async fn finish(self) -> Result<W, WriteError> {
        self.writer.finish().await
    }
}

/// Room for one line.
#[derive(Debug)]
#[must_use = "room is for writing; dropped, nothing is written"]
pub struct LineRoom<'w, W> {
    room: Room<'w, W>,
    max_line: u64,
}

impl<'w, W> LineRoom<'w, W> {
    /// Writes `line` and the line break.
    ///
    /// # Errors
    /// If it is not a line. Nothing was accepted.
    pub fn write(self, line: impl Into<Bytes>) -> Result<Sent<'w, W>, NotALine> {
        let line = line.into();
        check(&line, self.max_line)?;
        let (bytes, max) = (line.len() as u64, self.max_line);
        self.room.write_pieces([line, LINE_BREAK]).map_err(|_| NotALine::TooLong { bytes, max })
    }
}
