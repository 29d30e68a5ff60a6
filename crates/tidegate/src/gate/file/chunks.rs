//! [`Chunks`]: one piece after the other.

use std::io;

use super::open::File;

/// A file, piece by piece; made by [`File::chunks`].
///
/// There is no read-ahead: a chunk is read when it is asked for, so that a slow reader holds no memory.
/// **When full**, a chunk waits for a thread and for its bytes, or is refused and can be asked for again.
#[derive(Debug)]
pub struct Chunks {
    file: File,
    size: usize,
    offset: u64,
    ended: bool,
}

impl Chunks {
    pub(super) fn new(file: File, size: usize) -> Self {
        Self { file, size: size.max(1), offset: 0, ended: false }
    }

    /// From `offset` on.
    #[must_use]
    pub fn from_offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// The next chunk: as many bytes as were asked for, but for the last one; `None` at the end of the file, and from then
    /// on. **Cancel safety:** dropped, it is as if it had not been called.
    ///
    /// # Errors
    /// Those of [`Files`](super::Files). It can be called again, for the same chunk.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let chunk = self.file.read_at(self.offset, self.size).await?;
        self.offset = self.offset.saturating_add(chunk.len() as u64);
        self.ended = chunk.is_empty();
        Ok((!self.ended).then_some(chunk))
    }
}
