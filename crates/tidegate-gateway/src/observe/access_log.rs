//! [`AccessLog`]: one line for each request, written beside the requests.

use std::fmt::Write as _;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Lines that may wait for the disk; beyond it a line is lost and counted, and no request waits.
const WAITING_LINES: usize = 8192;
/// How often a full log is asked, at the end, whether it takes one thing more.
const AGAIN: Duration = Duration::from_millis(1);

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
}

/// What a line says.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// The client.
    pub peer: SocketAddr,
    /// The method; `-` if its head could not be read, as for the path and the class.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The status that was sent; 499 if the client left before.
    pub status: u16,
    /// Why the gateway answered itself, or where the client left.
    pub reason: Option<&'static str>,
    /// The class.
    pub class: &'static str,
    /// Milliseconds in the queue.
    pub waited_ms: f64,
    /// Milliseconds at the origin.
    pub origin_ms: f64,
    /// Milliseconds from the head to the end.
    pub total_ms: f64,
}

impl Line {
    /// Of what has only begun.
    pub(crate) fn new(peer: SocketAddr, method: String, path: String, class: &'static str) -> Self {
        let (waited_ms, origin_ms, total_ms) = (0.0, 0.0, 0.0);
        Self { peer, method, path, status: 0, reason: None, class, waited_ms, origin_ms, total_ms }
    }

    /// Milliseconds as the log has them: to the microsecond.
    pub(crate) fn millis(time: Duration) -> f64 {
        (time.as_secs_f64() * 1e6).round() / 1e3
    }
}

/// Writes lines from a thread of its own.
///
/// **When full** (8192 lines wait because the disk or the reader is slow) a line is lost, and counted; no
/// request ever waits for the log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: SyncSender<Item>,
    format: LogFormat,
}

/// What is handed to the thread that writes.
enum Item {
    Line(String),
    /// Somebody wants to know when it is written up to here.
    UpToHere(oneshot::Sender<()>),
}

impl AccessLog {
    /// Writes to `out`.
    #[must_use]
    pub fn new(format: LogFormat, mut out: impl Write + Send + 'static) -> Self {
        let (lines, queue) = sync_channel::<Item>(WAITING_LINES);
        std::thread::spawn(move || {
            while let Ok(first) = queue.recv() {
                let (mut text, mut told) = (String::new(), None);
                // What waits already is written at once.
                for item in std::iter::once(first).chain(queue.try_iter().take(256)) {
                    match item {
                        Item::Line(line) => text.push_str(&line),
                        Item::UpToHere(tell) => told = Some(tell),
                    }
                    if told.is_some() {
                        break;
                    }
                }
                if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                    return; // whoever read it has gone; lines are counted as lost from now on
                }
                if let Some(tell) = told {
                    let _ = tell.send(());
                }
            }
        });
        Self { lines, format }
    }

    /// Writes a line; false if it was lost.
    pub(crate) fn write(&self, line: &Line) -> bool {
        let text = match self.format {
            LogFormat::Json => serde_json::to_string(line).unwrap_or_default() + "\n",
            LogFormat::Logfmt => logfmt(line),
        };
        self.lines.try_send(Item::Line(text)).is_ok()
    }

    /// Waits until every line so far is written, `within` so long: for the end of the program, whose other threads go with it.
    /// False if it took longer, or whoever read it has gone. **When cancelled:** what waits is written all the same.
    pub async fn finish(&self, within: Duration) -> bool {
        let ends = async {
            let (tell, written) = oneshot::channel();
            let mut item = Item::UpToHere(tell);
            while let Err(full) = self.lines.try_send(item) {
                let TrySendError::Full(again) = full else { return false };
                item = again;
                sleep(AGAIN).await;
            }
            written.await.is_ok()
        };
        timeout(within, ends).await.unwrap_or(false)
    }
}

fn logfmt(line: &Line) -> String {
    let mut text = String::with_capacity(160);
    let _ = write!(text, "peer={} method={} path=", line.peer, line.method);
    quote(&mut text, &line.path);
    let _ = write!(text, " status={}", line.status);
    if let Some(reason) = line.reason {
        let _ = write!(text, " reason={reason}");
    }
    let Line { class, waited_ms, origin_ms, total_ms, .. } = line;
    let _ = writeln!(text, " class={class} waited_ms={waited_ms} origin_ms={origin_ms} total_ms={total_ms}");
    text
}

/// A value in quotes if it needs them. Control characters never reach the log.
fn quote(text: &mut String, value: &str) {
    if value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\')) {
        text.push_str(value);
    } else {
        let _ = write!(text, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn line() -> Line {
        Line {
            peer: "127.0.0.1:9".parse().unwrap(),
            method: "GET".into(),
            path: "/a b\n".into(),
            status: 503,
            reason: Some("queue_full"),
            class: "critical",
            waited_ms: Line::millis(Duration::from_nanos(1_234_567)),
            origin_ms: 0.0,
            total_ms: 1.5,
        }
    }

    #[test]
    fn a_line_is_one_line_in_either_format() {
        assert_eq!(
            logfmt(&line()),
            "peer=127.0.0.1:9 method=GET path=\"/a b\\n\" status=503 reason=queue_full class=critical waited_ms=1.235 origin_ms=0 total_ms=1.5\n"
        );
        let out = Shared::default();
        let log = AccessLog::new(LogFormat::Json, out.clone());
        assert!(log.write(&line()));
        while !out.0.lock().unwrap().ends_with(b"\n") {
            std::thread::yield_now();
        }
        let value: serde_json::Value = serde_json::from_slice(&out.0.lock().unwrap()).unwrap();
        assert_eq!(value["path"], "/a b\n");
    }

    #[tokio::test]
    async fn the_end_waits_for_what_was_said_and_not_for_ever() {
        let out = Shared::default();
        let log = AccessLog::new(LogFormat::Logfmt, out.clone());
        for lines in [1, 1000] {
            out.0.lock().unwrap().clear();
            assert!((0..lines).all(|_| log.write(&line())));
            assert!(log.finish(Duration::from_secs(60)).await);
            assert_eq!(out.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count(), lines);
        }
    }

    #[tokio::test]
    async fn the_end_does_not_wait_for_ever() {
        let (go, wait) = sync_channel(1);
        let log = AccessLog::new(LogFormat::Logfmt, Held(wait));
        assert!(
            log.write(&line()) && !log.finish(Duration::from_millis(1)).await,
            "nothing is written meanwhile"
        );
        while log.write(&line()) {}
        assert!(!log.finish(Duration::from_millis(1)).await, "it is full");
        drop(go);
        assert!(log.finish(Duration::from_secs(60)).await);
    }

    /// Takes nothing until its other end is dropped.
    struct Held(std::sync::mpsc::Receiver<()>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
