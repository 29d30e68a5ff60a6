//! [`File`]: an open file, by position.

use std::fs;
use std::io;
use std::sync::Arc;

use crate::demand::Demand;

use super::chunks::Chunks;
use super::device::{Device, Kind, in_memory};
use super::position::{read_full, write_full};

/// An open file. Clones share it; there is no position that they could move under each other.
///
/// **When full**, every operation waits for a thread and for its bytes as long as the gate lets it, or is refused at
/// once. Cancel safety and errors are those of [`Files`](super::Files). Dropping the last clone closes the file where that
/// happens, which blocks on some network file systems: [`close`](Self::close) does it on a thread.
#[derive(Clone, Debug)]
pub struct File {
    file: Arc<fs::File>,
    device: Device,
}

impl File {
    pub(super) fn new(file: fs::File, device: Device) -> Self {
        Self { file: Arc::new(file), device }
    }

    /// The same file, for another demand.
    #[must_use]
    pub fn with(&self, demand: impl Into<Demand>) -> Self {
        let device = Device { gate: self.device.gate.clone(), demand: demand.into() };
        Self { file: Arc::clone(&self.file), device }
    }

    /// `length` bytes from `offset` on; fewer only at the end of the file, or if there are fewer bytes at all
    /// ([`Files::max_bytes`](super::Files::max_bytes)).
    ///
    /// # Errors
    /// Those of [`Files`](super::Files).
    pub async fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let bytes = (length as u64).min(self.device.most());
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let file = Arc::clone(&self.file);
        let read = move || {
            let mut buffer = Vec::new();
            // More than there is must be an error, not the end of the process.
            buffer.try_reserve_exact(in_memory(bytes))?;
            buffer.resize(in_memory(bytes), 0);
            let read = read_full(&file, &mut buffer, offset)?;
            buffer.truncate(read);
            Ok(buffer)
        };
        self.device.run(Kind::Read, bytes, read).await
    }

    /// Writes all of `data` from `offset` on.
    ///
    /// # Errors
    /// Those of [`Files`](super::Files). After one of the system's, a part may have been written.
    pub async fn write_at(&self, offset: u64, data: impl AsRef<[u8]> + Send + 'static) -> io::Result<()> {
        let bytes = data.as_ref().len() as u64;
        let file = Arc::clone(&self.file);
        self.device.run(Kind::Write, bytes, move || write_full(&file, data.as_ref(), offset)).await
    }

    /// The file from its start, `size` bytes at a time (0 counts as 1). A chunk is read when it is asked for.
    #[must_use]
    pub fn chunks(&self, size: usize) -> Chunks {
        Chunks::new(self.clone(), size)
    }

    /// Its length, in bytes.
    ///
    /// # Errors
    /// Those of [`Files`](super::Files).
    pub async fn length(&self) -> io::Result<u64> {
        let file = Arc::clone(&self.file);
        self.device.run(Kind::Look, 0, move || Ok(file.metadata()?.len())).await
    }

    /// Cuts it off at `length` bytes, or fills it up with zeros.
    ///
    /// # Errors
    /// Those of [`Files`](super::Files).
    pub async fn set_length(&self, length: u64) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        self.device.run(Kind::Look, 0, move || file.set_len(length)).await
    }

    /// Waits until the device has all that was written, and the file's metadata.
    ///
    /// # Errors
    /// Those of [`Files`](super::Files).
    pub async fn sync_all(&self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        self.device.run(Kind::Sync, 0, move || file.sync_all()).await
    }

    /// Closes it on a thread, if this is the last clone.
    ///
    /// # Errors
    /// Those of [`Files`](super::Files), where none is the system's: it does not say.
    pub async fn close(self) -> io::Result<()> {
        let Self { file, device } = self;
        let close = move || {
            drop(file);
            Ok(())
        };
        device.run(Kind::Look, 0, close).await
    }
}
