//! [`Files`]: the limits, and whole files.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use crate::demand::Demand;
use crate::gate::blocking::Blocking;
use crate::limiter::Limiter;
use crate::readiness::{AskReady, Readiness};

use super::device::{Device, Kind, in_memory};
use super::open::File;

/// What a file of unknown length is read with: more than the files of `/proc` and `/sys` mostly have.
const UNKNOWN: u64 = 64 << 10;

/// Reads and writes files: so many operations at once, so many waiting, so many bytes of data in both.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::gate::Files;
///
/// let files = Files::default();
/// # let path = std::env::temp_dir().join(format!("tidegate-files-{}", std::process::id()));
/// files.write(&path, "high water").await?;
/// assert_eq!(files.read(&path).await?, b"high water");
///
/// let file = files.open(&path).await?;
/// let mut chunks = file.chunks(4);
/// while let Some(chunk) = chunks.next().await? {
///     assert!(chunk.len() <= 4);
/// }
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(()) }).unwrap();
/// ```
///
/// **Cancel safety:** dropped while it waits, an operation is not done. Once it has begun, it goes on to its end on its
/// thread, which holds the permit and the bytes as long: a write is not cut off in the middle by its caller.
///
/// **Errors** of every operation are the system's, and: one of kind [`ResourceBusy`](io::ErrorKind::ResourceBusy) **when
/// full** (with the [`Refused`](crate::Refused) inside); one with a [`BlockingError`](crate::gate::blocking::BlockingError)
/// inside when the runtime ends.
///
/// To an [adaptive](Limiter::adaptive) limiter, reads are [kind](Demand::kind) 0, writes 1, opens and the like 2, syncs 3;
/// `TimedOut`, `ResourceBusy` and `WouldBlock` from the system are overload, other errors say nothing.
#[derive(Clone, Debug)]
pub struct Files {
    device: Device,
}

impl Files {
    /// Operations at once by default: 64, at which depth one solid-state drive gives most of its rate, and an eighth of
    /// the runtime's 512 blocking threads.
    pub const DEFAULT_LIMIT: u64 = 64;

    /// As many operations at once as `limiter` admits, and 64 MiB of data
    /// ([`Blocking::DEFAULT_MAX_BYTES`]). One limiter for each device is best: a slow one does not hold up the others.
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        Self::through(Blocking::new(limiter))
    }

    /// Through a gate that other work may pass too.
    #[must_use]
    pub fn through(gate: Blocking) -> Self {
        Self { device: Device { gate, demand: Demand::ONE } }
    }

    /// At most `bytes` of data in operations that run or wait for a thread, and as many again that wait for bytes;
    /// see [`Blocking::max_bytes`].
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        let Device { gate, demand } = self.device;
        Self { device: Device { gate: gate.max_bytes(bytes), demand } }
    }

    /// The same limits, for `demand`: its class, deadline, holder and so on go for every operation, and for those on the
    /// files that are opened. Its [kind](Demand::kind) is not heeded.
    #[must_use]
    pub fn with(&self, demand: impl Into<Demand>) -> Self {
        Self { device: Device { gate: self.device.gate.clone(), demand: demand.into() } }
    }

    /// The gate: to be asked, and to set limits.
    #[must_use]
    pub fn gate(&self) -> &Blocking {
        &self.device.gate
    }

    /// All of a file. It is measured first, then its bytes are waited for, then it is read.
    ///
    /// # Errors
    /// [`FileTooLarge`](io::ErrorKind::FileTooLarge) if it is larger than the bytes there are at all (read it in
    /// [chunks](File::chunks)), or grew while it was being read; those of [`Files`].
    pub async fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let path = path.as_ref().to_owned();
        let asked = path.clone();
        let length = self.device.run(Kind::Look, 0, move || Ok(fs::metadata(asked)?.len())).await?;
        let most = self.device.most();
        if length > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let room = if length == 0 { UNKNOWN.min(most) } else { length };
        // Opened only now: those that wait hold no file open, of which a process has not many.
        self.device.run(Kind::Read, room, move || read_whole(&fs::File::open(path)?, length, room)).await
    }

    /// Writes a file, in place of what it held. Not cut off by its caller, but not atomic either: whoever reads it
    /// meanwhile sees a part.
    ///
    /// # Errors
    /// Those of [`Files`].
    pub async fn write(
        &self,
        path: impl AsRef<Path>,
        data: impl AsRef<[u8]> + Send + 'static,
    ) -> io::Result<()> {
        let path = path.as_ref().to_owned();
        let bytes = data.as_ref().len() as u64;
        self.device.run(Kind::Write, bytes, move || fs::write(path, data)).await
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// Those of [`Files`].
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(OpenOptions::new().read(true), path).await
    }

    /// Opens a file for reading and writing; makes it, or empties it.
    ///
    /// # Errors
    /// Those of [`Files`].
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(OpenOptions::new().read(true).write(true).create(true).truncate(true), path).await
    }

    /// Opens a file with `options`.
    ///
    /// # Errors
    /// Those of [`Files`].
    pub async fn open_with(&self, options: &OpenOptions, path: impl AsRef<Path>) -> io::Result<File> {
        let (options, path) = (options.clone(), path.as_ref().to_owned());
        let file = self.device.run(Kind::Look, 0, move || options.open(path)).await?;
        Ok(File::new(file, self.device.clone()))
    }
}

/// All of `file`, for which there is `room`.
fn read_whole(mut file: &fs::File, length: u64, room: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    data.try_reserve_exact(in_memory(length))?;
    file.take(room).read_to_end(&mut data)?;
    // As long as there was room for: is that all?
    if data.len() as u64 == room {
        let more = loop {
            match file.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read? > 0,
            }
        };
        if more {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    Ok(data)
}

/// 64 operations at once, with the default queue and 64 MiB of data.
impl Default for Files {
    fn default() -> Self {
        Self::new(Limiter::fixed(Self::DEFAULT_LIMIT))
    }
}

impl AskReady for Files {
    fn readiness(&self) -> Readiness {
        self.device.gate.readiness()
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        self.device.gate.readiness_for(demand)
    }
}
