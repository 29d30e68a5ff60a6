//! Files: threads, waiting operations and bytes are bounded; data is right.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tidegate::gate::{Blocking, Files};
use tidegate::{AskReady, Criticality, Demand, Limiter, QueueConfig, Reason, Refused};
use tokio::task::JoinSet;

use super::device::{Device, eventually, poll};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("tidegate-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file that blocks whoever opens it, until somebody opens its other end.
    #[cfg(unix)]
    fn pipe(&self) -> PathBuf {
        let path = self.path("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

fn files(limit: u64, places: u64, bytes: u64) -> Files {
    let queue = QueueConfig::bounded(places).max_wait(Duration::from_secs(600));
    Files::new(Limiter::builder().name("disk").limit(limit).queue(queue).build().unwrap()).max_bytes(bytes)
}

#[tokio::test]
async fn without_any_bytes_a_read_is_refused_and_not_the_end_of_the_file() {
    let folder = Folder::new();
    let files = Files::new(Limiter::builder().limit(1).queue(QueueConfig::none()).build().unwrap());
    files.write(folder.path("a"), data(10)).await.unwrap();
    let file = files.open(folder.path("a")).await.unwrap();
    files.gate().bytes().set_limit(0);
    let error = file.read_at(0, 10).await.unwrap_err();
    assert_eq!(Refused::find(&error).unwrap().reason(), Reason::Memory);
}

#[tokio::test]
async fn more_bytes_than_the_machine_has_are_an_error() {
    let folder = Folder::new();
    let files = files(1, 1, u64::MAX);
    files.write(folder.path("a"), data(10)).await.unwrap();
    let file = files.open(folder.path("a")).await.unwrap();
    assert_eq!(file.read_at(0, usize::MAX).await.unwrap_err().kind(), ErrorKind::OutOfMemory);
}

#[tokio::test]
async fn what_is_written_is_read() {
    let folder = Folder::new();
    let files = Files::default();
    let path = folder.path("a");
    for length in [0, 1, 4096, 100_000] {
        files.write(&path, data(length)).await.unwrap();
        assert_eq!(files.read(&path).await.unwrap(), data(length));
    }
    let file = files.open(&path).await.unwrap();
    assert_eq!(file.length().await.unwrap(), 100_000);
    assert_eq!(file.read_at(10, 5).await.unwrap(), data(15)[10..]);
    assert_eq!(file.read_at(99_990, 100).await.unwrap().len(), 10, "the end");
    assert!(file.read_at(200_000, 100).await.unwrap().is_empty());
    assert!(file.read_at(u64::MAX, 100).await.is_err() || cfg!(windows));
    assert!(file.read_at(0, 0).await.unwrap().is_empty());
    assert!(file.write_at(0, "no").await.is_err(), "opened for reading");

    let file = files.create(&path).await.unwrap();
    file.write_at(3, vec![1, 2, 3]).await.unwrap();
    file.write_at(0, "abc").await.unwrap();
    file.sync_all().await.unwrap();
    file.set_length(5).await.unwrap();
    assert_eq!(file.read_at(0, 100).await.unwrap(), b"abc\x01\x02");
    file.close().await.unwrap();
    assert_eq!(files.read(folder.path("none")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(files.read(&folder.0).await.is_err(), "a folder");
    assert_eq!(files.gate().limiter().in_flight(), 0);
    assert_eq!(files.gate().bytes().in_flight(), 0);
}

#[tokio::test]
async fn chunks_are_read_when_they_are_asked_for() {
    let folder = Folder::new();
    let files = files(2, 10, 1000);
    let path = folder.path("a");
    std::fs::write(&path, data(2500)).unwrap();
    let file = files.open(&path).await.unwrap();
    let mut chunks = file.chunks(1000);
    let mut read = Vec::new();
    let mut sizes = Vec::new();
    while let Some(chunk) = chunks.next().await.unwrap() {
        assert_eq!(
            files.gate().bytes().in_flight(),
            0,
            "nothing is read ahead, and the chunk is the caller's"
        );
        sizes.push(chunk.len());
        read.extend(chunk);
    }
    assert_eq!((sizes, read), (vec![1000, 1000, 500], data(2500)));
    assert!(chunks.next().await.unwrap().is_none());
    // Given up between, it goes on where it was.
    let mut chunks = file.chunks(10).from_offset(2490);
    drop(poll(&mut Box::pin(chunks.next())));
    assert_eq!(chunks.next().await.unwrap().unwrap(), data(2500)[2490..]);
    // A chunk larger than all bytes there are is a smaller chunk.
    assert_eq!(file.chunks(5000).next().await.unwrap().unwrap().len(), 1000);
    assert_eq!(file.chunks(0).next().await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_larger_than_all_bytes_is_not_read_whole() {
    let folder = Folder::new();
    let files = files(2, 10, 1000);
    let path = folder.path("a");
    std::fs::write(&path, data(1000)).unwrap();
    assert_eq!(files.read(&path).await.unwrap().len(), 1000);
    std::fs::write(&path, data(1001)).unwrap();
    assert_eq!(files.read(&path).await.unwrap_err().kind(), ErrorKind::FileTooLarge);
    // Data that there is already goes alone.
    files.write(&path, data(5000)).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 5000);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn files_that_do_not_say_how_long_they_are() {
    let files = Files::default();
    assert!(String::from_utf8(files.read("/proc/self/status").await.unwrap()).unwrap().contains("Threads:"));
    assert_eq!(files.read("/dev/zero").await.unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert!(files.read("/dev/null").await.unwrap().is_empty());
    assert_eq!(files.gate().bytes().in_flight(), 0);
}

#[tokio::test]
async fn who_finds_no_place_gets_an_error_with_the_refusal_in_it() {
    let folder = Folder::new();
    let path = folder.path("a");
    std::fs::write(&path, data(10)).unwrap();
    let files = files(1, 0, 100);
    let _held = files.gate().limiter().try_acquire(1).unwrap();
    let error = files.open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    let refused = Refused::find(&error).unwrap();
    assert_eq!((refused.reason(), refused.limiter()), (Reason::QueueFull, "disk"));
    assert!(!files.readiness().is_ready());
    assert!(error.to_string().contains("queue_full"), "{error}");
    let _bytes = files.gate().bytes().try_acquire(100).unwrap();
    let error = files.write(&path, data(1)).await.unwrap_err();
    assert_eq!(Refused::find(&error).unwrap().reason(), Reason::Memory);
    assert_eq!(std::fs::read(&path).unwrap(), data(10), "not written");
}

#[tokio::test]
async fn a_demand_goes_along_with_the_files_it_opens() {
    let folder = Folder::new();
    let path = folder.path("a");
    std::fs::write(&path, data(10)).unwrap();
    let limiter = Limiter::builder().limit(1).track_occupants(true).build().unwrap();
    let gate = Blocking::new(limiter.clone());
    let device = Arc::new(Device::default());
    let files = Files::through(gate.clone());
    let file =
        files.with(Demand::ONE.holder("backup").class(Criticality::Sheddable)).open(&path).await.unwrap();
    let read = Arc::clone(&device);
    let mut busy = Box::pin(gate.run(1, move || read.read(Duration::ZERO)));
    assert!(poll(&mut busy).is_pending());
    let mut reading = Box::pin(file.read_at(0, 10));
    assert!(poll(&mut reading).is_pending());
    let other = file.with(Demand::ONE.holder("page"));
    let mut other = Box::pin(other.read_at(0, 10));
    assert!(poll(&mut other).is_pending());
    let who: Vec<_> = limiter.waiters().into_iter().map(|waiter| (waiter.who, waiter.class)).collect();
    assert_eq!(who, [("page".into(), Criticality::Critical), ("backup".into(), Criticality::Sheddable)]);
    device.let_go();
    busy.await.unwrap();
    assert_eq!((reading.await.unwrap().len(), other.await.unwrap().len()), (10, 10));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_blocks_lets_its_callers_go() {
    let folder = Folder::new();
    let pipe = folder.pipe();
    let files = files(2, 10, 1000);
    let mut callers = JoinSet::new();
    for _ in 0..5 {
        let (files, pipe) = (files.clone(), pipe.clone());
        callers.spawn(async move { files.open(pipe).await });
    }
    let limiter = files.gate().limiter();
    eventually("two block, three wait", || (limiter.in_flight(), limiter.stats().waiting) == (2, 3)).await;
    callers.abort_all();
    while let Some(ended) = callers.join_next().await {
        assert!(ended.unwrap_err().is_cancelled());
    }
    assert_eq!(limiter.stats().waiting, 0, "gone at once");
    // The other end: what blocks at the device returns, and its files are closed again.
    let path = folder.path("b");
    std::fs::write(&path, "b").unwrap();
    let _other = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    assert_eq!(files.open(&path).await.unwrap().length().await.unwrap(), 1);
    eventually("all are done", || limiter.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_hold_no_more_bytes_than_there_are() {
    const BUDGET: u64 = 50_000;
    let folder = Folder::new();
    let path = folder.path("a");
    std::fs::write(&path, data(100_000)).unwrap();
    let files = files(3, 1000, BUDGET);
    let file = files.open(&path).await.unwrap();
    let mut readers = JoinSet::new();
    for reader in 0..40_usize {
        let (files, file, path) = (files.clone(), file.clone(), path.clone());
        readers.spawn(async move {
            let mut failed = 0;
            for round in 0..20_usize {
                let (offset, length) = ((reader * 997 + round * 31) % 90_000, 100 + (reader * round) % 9_000);
                let read = match round % 7 {
                    // Some leave.
                    6 => {
                        drop(poll(&mut Box::pin(file.read_at(0, length))));
                        continue;
                    }
                    5 => files.open(&path).await.unwrap().read_at(offset as u64, length).await,
                    _ => file.read_at(offset as u64, length).await,
                };
                match read {
                    Ok(read) => assert_eq!(read, data(offset + length)[offset..]),
                    Err(error) => {
                        assert_eq!(Refused::find(&error).unwrap().reason(), Reason::Memory);
                        failed += 1;
                    }
                }
            }
            failed
        });
    }
    let mut failed = 0;
    while let Some(ended) = readers.join_next().await {
        failed += ended.unwrap();
    }
    assert!(failed < 800, "nobody was served");
    let (threads, bytes) = (files.gate().limiter(), files.gate().bytes());
    eventually("all comes back", || threads.in_flight() + bytes.in_flight() == 0).await;
    assert!(threads.stats().peak_in_flight <= 3);
    assert!(bytes.stats().peak_in_flight <= BUDGET);
    assert_eq!(files.gate().bytes_waited_for(), 0);
}
