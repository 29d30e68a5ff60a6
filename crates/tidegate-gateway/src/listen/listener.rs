//! [`Listener`]: accepts as many connections as there are permits for, and lets in those there is memory for.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tidegate::{Demand, Limiter, LimiterStats, Permit};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::memory::{AGAIN, Account, Arrival, Memory, RECEIVED};
use crate::receive;

use super::{ListenSettings, Serve, Shutdown, connection, displaced, parked};

/// Connections that the system completes before we accept them: part of the queue, so as long as our own.
const BACKLOG: i32 = 1024;
/// How long accepting pauses when the process has no file descriptor left: some connection will end meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// A silent connection is probed after so long, and again; so many probes without an answer end it, two minutes after its last
/// word. What a NAT forgets after a minute is found, and an outage as long as a mobile network's is not.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_AGAIN: Duration = Duration::from_secs(20);
const PROBES: u32 = 3;

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
        let received = settings.memory.as_ref().map_or(0, |memory| memory.plan().received());
        let tcp = listen_on(address, received > 0).map_err(wrap)?;
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
    /// **When full** (every connection permit is held) it accepts no more until one comes back; what the system has
    /// completed meanwhile waits in the backlog. A connection for which there is no memory, or none for its client, which
    /// has its share, is accepted and parked: it waits, unread, until there is some. When there is no place to park
    /// another one, the newest of the client with most of them is told so (but for TLS), and closed.
    pub async fn run<S: Serve>(self, service: Arc<S>, shutdown: Shutdown) {
        let memory = self.settings.memory.as_ref();
        {
            let mut accepting = pin!(self.accept());
            loop {
                let waits = memory.filter(|memory| memory.is_anybody_parked());
                tokio::select! {
                    biased;
                    () = shutdown.on_drain() => break,
                    accepted = accepting.as_mut() => {
                        self.enter(accepted, &service, &shutdown);
                        accepting.set(self.accept());
                    }
                    () = sleep(AGAIN), if waits.is_some() => waits.into_iter().for_each(Memory::let_in),
                }
            }
        }
        if let Some(memory) = memory {
            memory.empty_parking();
        }
        drop(self.tcp);
        self.connections.drain().await;
    }

    /// Serves it, parks it, or sends it away.
    fn enter<S: Serve>(&self, mut accepted: Accepted, service: &Arc<S>, shutdown: &Shutdown) {
        let (local, service, settings, shutdown) =
            (self.local, Arc::clone(service), Arc::clone(&self.settings), shutdown.clone());
        if let Some(memory) = &self.settings.memory {
            let proxy = self.settings.proxies.contains(accepted.peer.ip());
            let last = self.connections.stats().available == 0;
            match memory.arrive(accepted.peer, proxy, last) {
                Arrival::In(account) => accepted.account = Some(account),
                Arrival::Parked(place) => {
                    tokio::spawn(parked::wait(place, accepted, local, service, settings, shutdown));
                    return;
                }
                Arrival::Full => return displaced::send_away(accepted, local, &*service, &settings),
            }
        }
        tokio::spawn(connection::serve(accepted, local, service, settings, shutdown));
    }

    /// The next connection, once there is a permit for it, and a place to park it. Only this takes permits, so none is held
    /// meanwhile.
    async fn accept(&self) -> Accepted {
        let mut room = self.connections.subscribe();
        loop {
            room.wait_until_ready().await;
            while self.settings.memory.as_ref().is_some_and(|memory| !memory.has_place()) {
                sleep(AGAIN).await;
            }
            match self.tcp.accept().await {
                Ok((tcp, peer)) => {
                    if let Ok(permit) = self.connections.acquire(Demand::ONE).await {
                        return Accepted { tcp, peer, permit, account: None };
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

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: Permit,
    /// What is charged to it, if that is counted and it was let in.
    pub(super) account: Option<Arc<Account>>,
}

/// Errors that concern the one connection that was about to be accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

fn listen_on(address: SocketAddr, bounded: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last process's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Connections inherit it. One whose machine has vanished is found although nothing is sent: a tunnel, an answer without end.
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AGAIN).with_retries(PROBES);
    // Where it cannot be set, timeouts of our own remain for all but those.
    let _ = socket.set_tcp_keepalive(&probes);
    if bounded {
        // Those that wait in the backlog or are parked hold no more than those that are read.
        receive::begin_with(&socket, RECEIVED as usize)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_vanishes_in_silence_is_found() {
        let listener = listen_on(([127, 0, 0, 1], 0).into(), false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        let tcp = SockRef::from(&tcp);
        assert!(tcp.keepalive().unwrap());
        assert_eq!(tcp.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        assert_eq!(tcp.tcp_keepalive_interval().unwrap(), PROBE_AGAIN);
        assert_eq!(tcp.tcp_keepalive_retries().unwrap(), PROBES);
    }
}
