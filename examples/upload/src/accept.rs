//! Connections: no more than there are bytes for, and which protocol they speak.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate::budget::{Budget, Lease, Urgency};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::store::Store;
use crate::{http1, http2};

/// What the kernel holds of a connection that is not read. Without a bound it may be six MiB each (`tcp_rmem`). Linux
/// counts its own overhead in and reserves twice as much.
const RECEIVE: u32 = 64 << 10;
/// What a connection costs before it has sent anything: its tasks, its headers, the protocol's state.
const FIXED: u64 = 32 << 10;
/// What a connection is charged from before it is accepted until it is closed: that, the kernel's buffer, and what it may
/// send ahead, half as much again for frames' overhead.
pub(crate) const FLOOR: u64 = FIXED + 2 * RECEIVE as u64 + http2::SMALL as u64 * 3 / 2;
/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A client that does not say what it wants for so long is not waited for.
const OPENING: Duration = Duration::from_secs(10);

/// A listener whose connections buffer little in the kernel.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// Serves until the listener fails. Whoever there are no bytes for waits in the accept queue.
pub(crate) async fn serve(listener: TcpListener, store: Arc<Store>, budget: Budget) -> io::Result<()> {
    let mut connections = JoinSet::new(); // as many as have a lease
    loop {
        while connections.try_join_next().is_some() {}
        let lease = budget.lease(FLOOR).urgency(Urgency::New).await.map_err(io::Error::other)?;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Out of descriptors, or the client has gone already: the next one may do better.
            Err(_) => {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let (store, budget) = (Arc::clone(&store), budget.clone());
        connections.spawn(async move {
            // A broken connection is the client's affair; its lease goes back whatever happened.
            let _ = connection(stream, peer, lease, &budget, store).await;
        });
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    mut lease: Lease,
    budget: &Budget,
    store: Arc<Store>,
) -> io::Result<()> {
    // A budget of its own: who holds how much can be seen by its name.
    let own = budget.child(peer.to_string()).work().build();
    lease.transfer(&own).map_err(io::Error::other)?;
    if timeout(OPENING, is_http2(&stream)).await?? {
        http2::serve(stream, own, store).await?;
    } else {
        http1::serve(stream, own, store).await?;
    }
    drop(lease);
    Ok(())
}

/// Does it begin as HTTP/2 does? Takes nothing from it.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut seen).await?;
        if length == 0 || !PREFACE.starts_with(seen.get(..length).unwrap_or_default()) {
            return Ok(false);
        }
        if length == PREFACE.len() {
            return Ok(true);
        }
        // Peeking again would return the same at once.
        sleep(Duration::from_millis(5)).await;
    }
}
