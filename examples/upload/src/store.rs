//! Uploads on their way to a file: there under its name when all of it is, and not at all otherwise.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::StatusCode;

use crate::disk::Disk;

/// The largest upload, bytes.
pub(crate) const LARGEST: u64 = 16 << 30;

/// The folder that uploads go to.
pub(crate) struct Store {
    folder: PathBuf,
    disk: Disk,
    begun: AtomicU64,
}

/// One upload.
pub(crate) struct Upload<'s> {
    store: &'s Store,
    file: Option<File>,
    part: PathBuf,
    whole: PathBuf,
    written: u64,
}

impl Store {
    pub(crate) fn new(folder: PathBuf, disk: Disk) -> Self {
        Self { folder, disk, begun: AtomicU64::new(0) }
    }

    /// Begins an upload of `length` bytes, if it says how many, to `path`.
    pub(crate) async fn begin(&self, path: &str, length: Option<u64>) -> Result<Upload<'_>, StatusCode> {
        let name = path.strip_prefix('/').unwrap_or(path);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(StatusCode::NOT_FOUND);
        }
        if length.is_some_and(|length| length > LARGEST) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let part = self.folder.join(format!(".{name}.{number}.part"));
        let mut upload = Upload { store: self, file: None, part, whole: self.folder.join(name), written: 0 };
        let path = upload.part.clone();
        upload.file = Some(self.disk.with(|| File::create(path)).await.map_err(status)?);
        Ok(upload)
    }
}

impl Upload<'_> {
    /// Writes some more; they are on the disk when it returns. After an error or when cancelled there is no upload any more.
    pub(crate) async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), StatusCode> {
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.written += length;
        if self.written > LARGEST {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let Some(file) = self.file.take() else { return Err(StatusCode::INTERNAL_SERVER_ERROR) };
        self.file = Some(self.store.disk.write(file, chunks).await.map_err(status)?);
        Ok(())
    }

    /// All of it is there. Returns how many bytes that was.
    pub(crate) async fn finish(mut self) -> Result<u64, StatusCode> {
        let (part, whole) = (self.part.clone(), self.whole.clone());
        self.file.take().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        self.store.disk.with(move || fs::rename(part, whole)).await.map_err(status)?;
        Ok(self.written)
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        // Gone already when it was finished; a write that is under way ends in a file without a name.
        let _ = fs::remove_file(&self.part);
    }
}

fn status(error: io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::ResourceBusy => StatusCode::SERVICE_UNAVAILABLE,
        io::ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
