//! [`Listener`]: accepts as many connections as there are permits for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tidegate::budget::Lease;
use tidegate::{Demand, Limiter, LimiterStats, Permit};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::connection;
use super::{ListenSettings, Serve, Shutdown};

/// Connections that the system completes before we accept them: part of the queue, so as long as our own.
const BACKLOG: i32 = 1024;
/// How long accepting pauses when the process has no file descriptor left: some connection will end meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening address.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    local: SocketAddr,
    settings: Arc<ListenSettings>,
    connections: Limiter,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(.source))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has it: stop that one, or choose another address",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose another port, or grant it"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has it",
        _ => "",
    }
}

impl Listener {
    /// Listens on `address`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the address cannot be had; the message says what to do.
    pub fn bind(address: SocketAddr, settings: ListenSettings) -> Result<Self, ListenError> {
        let wrap = |source| ListenError { address, source };
        let tcp = listen_on(address).map_err(wrap)?;
        let local = tcp.local_addr().map_err(wrap)?;
        let connections = Limiter::fixed(settings.max_connections.max(1));
        Ok(Self { tcp, local, settings: Arc::new(settings), connections })
    }

    /// The address, with the port that was chosen if 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The connections, as a limiter that can be asked.
    #[must_use]
    pub fn connections(&self) -> Limiter {
        self.connections.clone()
    }

    /// Figures of the connections.
    #[must_use]
    pub fn stats(&self) -> LimiterStats {
        self.connections.stats()
    }

    /// Accepts and serves until `shutdown` asks to drain, then returns when the last connection has ended.
    ///
    /// **When full** (every connection permit is held, or another connection's floor does not fit into the memory) it
    /// accepts no more until something comes back; what the system has completed meanwhile waits in the backlog.
    pub async fn run<S: Serve>(self, service: Arc<S>, shutdown: Shutdown) {
        loop {
            let Accepted { tcp, peer, permit, floor } = tokio::select! {
                biased;
                () = shutdown.on_drain() => break,
                accepted = self.accept() => accepted,
            };
            tokio::spawn(connection::serve(
                Accepted { tcp, peer, permit, floor },
                self.local,
                Arc::clone(&service),
                Arc::clone(&self.settings),
                shutdown.clone(),
            ));
        }
        drop(self.tcp);
        self.connections.drain().await;
    }

    /// The next connection, once there is a permit for it. Only this takes permits, so none is held meanwhile.
    /// Its memory is held before it is accepted.
    async fn accept(&self) -> Accepted {
        let mut room = self.connections.subscribe();
        let mut floor = None;
        loop {
            room.wait_until_ready().await;
            if let (None, Some(memory)) = (&floor, &self.settings.memory) {
                floor = Some(memory.floor().await);
            }
            match self.tcp.accept().await {
                Ok((tcp, peer)) => {
                    if let Ok(permit) = self.connections.acquire(Demand::ONE).await {
                        return Accepted { tcp, peer, permit, floor };
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept for a moment: raise the limit of open files");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// A connection that was let in.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: Permit,
    /// What it takes at least, if that is counted.
    pub(super) floor: Option<Lease>,
}

/// Errors that concern the one connection that was about to be accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last process's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
