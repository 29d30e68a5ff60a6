//! [`open`]: all of an attack's connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::peer::{Seen, run};

/// What the peers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attack {
    /// Ask, with all the credit there is, and never read.
    Unread,
    /// Ask, and give no credit for a single byte of the answers.
    Zero,
    /// Upload, as much as there is credit for, to a service that does not read.
    Hold,
    /// The same as `Zero`, with heads of one-byte references to a long field.
    Bomb,
    /// Ask over HTTP/1.1 and read a byte every 5 s.
    Slow,
    /// The same over HTTP/2, with all the credit there is.
    SlowHttp2,
    /// Never acknowledge the server's settings, and ask nothing.
    Unacknowledged,
    /// Begin one stream after another and cancel each at a random point, of uploads and answers of the lab's origin.
    Cancel,
}

/// How many peers, and where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The server, on this machine.
    pub target: SocketAddr,
    /// Where the connections come from; the system's choice if unset. Any of 127.0.0.0/8 is another client.
    pub from: Option<SocketAddr>,
    /// What is asked for.
    pub path: String,
    /// Connections.
    pub connections: u32,
    /// Streams on each; HTTP/1 has one.
    pub streams: u32,
    /// Bytes of each upload.
    pub upload: u64,
    /// Peers whose streams have all ended keep their connection, and acknowledge what is asked of them.
    pub stays: bool,
}

impl Plan {
    /// So many connections with so many streams each, and uploads of 1 MiB.
    #[must_use]
    pub fn new(target: SocketAddr, path: &str, connections: u32, streams: u32) -> Self {
        Self {
            target,
            from: None,
            path: path.to_owned(),
            connections,
            streams,
            upload: 1 << 20,
            stays: false,
        }
    }
}

/// The peers. Dropped, all of them leave.
#[derive(Debug)]
pub struct Crowd {
    peers: JoinSet<()>,
    seen: Arc<Seen>,
}

/// What a crowd has seen until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Connections that have sent all they wanted to.
    pub begun: u64,
    /// Connections that the server has ended.
    pub ended: u64,
    /// Streams whose good answer has begun. Those who do not read do not know.
    pub answered: u64,
    /// Streams that were answered with an error.
    pub refused: u64,
    /// Streams that the server has reset.
    pub reset: u64,
    /// Bytes of uploads that were sent.
    pub sent: u64,
    /// Streams that were cancelled.
    pub cancelled: u64,
    /// Connections whose credit was there again after the last of them.
    pub whole: u64,
}

/// Opens them all at once; whoever finds no place waits in the server's backlog. Returns at once.
///
/// # Errors
/// `InvalidInput` if the server is not on this machine; the system's, if there are no descriptors for so many.
pub async fn open(attack: Attack, plan: &Plan) -> io::Result<Crowd> {
    if !plan.target.ip().to_canonical().is_loopback() {
        let why = "attacks are for servers on this machine: give a loopback address";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let (mut peers, seen, plan) = (JoinSet::new(), Arc::new(Seen::default()), Arc::new(plan.clone()));
    for _ in 0..plan.connections {
        let socket = socket(&plan)?;
        let (plan, seen) = (Arc::clone(&plan), Arc::clone(&seen));
        peers.spawn(async move {
            if let Ok(tcp) = socket.connect(plan.target).await {
                run(attack, plan, tcp, seen).await;
            }
        });
        tokio::task::yield_now().await;
    }
    Ok(Crowd { peers, seen })
}

/// A socket for one more of the plan's connections.
pub(super) fn socket(plan: &Plan) -> io::Result<TcpSocket> {
    let socket = match plan.target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = plan.from {
        socket.bind(from)?;
    }
    Ok(socket)
}

impl Crowd {
    /// What it has seen.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            begun: self.seen.begun.load(Relaxed),
            ended: self.seen.ended.load(Relaxed),
            answered: self.seen.answered.load(Relaxed),
            refused: self.seen.refused.load(Relaxed),
            reset: self.seen.reset.load(Relaxed),
            sent: self.seen.sent.load(Relaxed),
            cancelled: self.seen.cancelled.load(Relaxed),
            whole: self.seen.whole.load(Relaxed),
        }
    }

    /// Waits until the server has ended all of them. **When cancelled:** they stay.
    pub async fn ended(&mut self) {
        while self.peers.join_next().await.is_some() {}
    }
}
