//! The echo server as it is written everywhere: `write` takes whatever it is given, and a task brings it out when it can. This
//! is what asyncio's `StreamWriter.write` does without `drain`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::Failure;

/// Bytes in the buffers of all connections.
#[derive(Debug, Default)]
pub(crate) struct Held(AtomicU64);

impl Held {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A writer that never says no.
struct Writer {
    buffer: Mutex<BytesMut>,
    more: Notify,
    held: Arc<Held>,
}

impl Writer {
    /// Does not wait, and cannot fail: and so nobody hears how much is in the buffer.
    fn write(&self, bytes: &[u8]) {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        self.held.0.fetch_add(bytes.len() as u64, Relaxed);
        self.more.notify_one();
    }

    async fn bring_out(&self, mut to: OwnedWriteHalf) {
        loop {
            let out = self.buffer.lock().unwrap_or_else(PoisonError::into_inner).split();
            if out.is_empty() {
                self.more.notified().await;
                continue;
            }
            let written = to.write_all(&out).await;
            self.held.0.fetch_sub(out.len() as u64, Relaxed);
            if written.is_err() {
                return;
            }
        }
    }
}

pub(crate) async fn serve(listener: TcpListener, held: Arc<Held>) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream, Arc::clone(&held)));
    }
}

async fn echo(stream: TcpStream, held: Arc<Held>) {
    let (reading, writing) = stream.into_split();
    let writer = Arc::new(Writer { buffer: Mutex::new(BytesMut::new()), more: Notify::new(), held });
    let bringing = Arc::clone(&writer);
    let task = tokio::spawn(async move { bringing.bring_out(writing).await });
    let (mut reading, mut line) = (BufReader::new(reading), Vec::new());
    while matches!(reading.read_until(b'\n', &mut line).await, Ok(1..)) {
        writer.write(&line);
        line.clear();
    }
    task.abort();
    let left = writer.buffer.lock().unwrap_or_else(PoisonError::into_inner).len();
    writer.held.0.fetch_sub(left as u64, Relaxed);
}
