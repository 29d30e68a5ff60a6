//! The disk: a few writes at a time, each on a thread of its own, and done when the device says so.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tidegate::Limiter;
use tidegate::gate::Blocking;
use tokio::time::{Instant, sleep_until};

/// Writes at a time: a disk has few arms, and a solid state one is busy with four.
const WRITES: u64 = 4;

/// A disk, as slow as it is told to be.
pub(crate) struct Disk {
    blocking: Blocking,
    /// Bytes a second, and when what was written so far would be done at that pace.
    pace: Option<(u64, Mutex<Instant>)>,
}

impl Disk {
    pub(crate) fn new(bytes_a_second: Option<u64>) -> Self {
        let pace = bytes_a_second.map(|pace| (pace.max(1), Mutex::new(Instant::now())));
        Self { blocking: Blocking::new(Limiter::fixed(WRITES)), pace }
    }

    /// Does `work` with a file on a thread of its own.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.blocking.run(1, work).await.map_err(io::Error::from)?
    }

    /// Writes `chunks`, and returns when they are on the device.
    pub(crate) async fn write(&self, mut file: File, chunks: Vec<Bytes>) -> io::Result<File> {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        if let Some((pace, done)) = &self.pace {
            let takes = Duration::from_secs_f64(length as f64 / *pace as f64);
            let done = {
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                *done = (*done).max(Instant::now()) + takes;
                *done
            };
            sleep_until(done).await;
        }
        self.with(move || {
            chunks.iter().try_for_each(|chunk| file.write_all(chunk))?;
            file.sync_data()?;
            Ok(file)
        })
        .await
    }
}
