//! Clients that write lines as fast as they are taken, and never read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// What a client's own kernel keeps, either way: small, so that the server's part shows.
const KERNEL: u32 = 64 << 10;

pub(crate) struct Flood {
    clients: JoinSet<std::io::Result<()>>,
    taken: Vec<Arc<AtomicU64>>,
}

impl Flood {
    /// `clients` clients of which each offers at most `bytes`.
    pub(crate) fn start(server: SocketAddr, clients: usize, bytes: u64) -> Self {
        let taken: Vec<Arc<AtomicU64>> = (0..clients).map(|_| Arc::default()).collect();
        let mut tasks = JoinSet::new();
        for taken in &taken {
            tasks.spawn(client(server, bytes, Arc::clone(taken)));
        }
        Self { clients: tasks, taken }
    }

    /// Bytes that each got rid of.
    pub(crate) fn taken(&self) -> Vec<u64> {
        self.taken.iter().map(|taken| taken.load(Relaxed)).collect()
    }

    /// How many of them get rid of nothing for half a second.
    pub(crate) async fn blocked(&self) -> usize {
        let before = self.taken();
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.taken().iter().zip(before).filter(|(now, before)| *now == before).count()
    }

    pub(crate) async fn stop(mut self) {
        self.clients.shutdown().await;
    }
}

async fn client(server: SocketAddr, bytes: u64, taken: Arc<AtomicU64>) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(KERNEL)?;
    socket.set_send_buffer_size(KERNEL)?;
    let mut stream = socket.connect(server).await?;
    let lines = [b"0123456789".repeat(99).as_slice(), b"012345678\n"].concat().repeat(16);
    while taken.load(Relaxed) < bytes {
        stream.write_all(&lines).await?;
        taken.fetch_add(lines.len() as u64, Relaxed);
    }
    // It stays, and does not read.
    std::future::pending().await
}
