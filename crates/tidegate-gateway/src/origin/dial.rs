//! A new connection to the origin.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::socket::{Socket, Watch};
use crate::tls::{self, TlsError};
use crate::unsent::Unsent;

use super::address::{OriginAddress, Place};
use super::{OriginError, OriginErrorKind, OriginSettings};

/// Bytes that may wait unsent in the kernel for one connection (`TCP_NOTSENT_LOWAT`), as on the clients' side.
const UNSENT: u32 = 16 * 1024;

/// Opens connections to one origin.
#[derive(Debug)]
pub(super) struct Dialer {
    address: OriginAddress,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: Duration,
    gone_after: Duration,
    probe_after: Duration,
    /// How much of an answer the kernel may hold, if that has a bound.
    receive: Option<u32>,
    /// Which of several addresses of a name is tried first: they take turns.
    turn: AtomicUsize,
}

/// A connection to the origin, in clear or not.
#[derive(Debug)]
pub(super) enum Line {
    Clear(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Dialer {
    pub(super) fn new(address: OriginAddress, settings: &OriginSettings) -> Result<Self, TlsError> {
        let tls = match &address.place {
            Place::Tcp { host, tls: true, .. } => {
                let name = ServerName::try_from(host.clone()).map_err(|_| TlsError::NoName(host.clone()))?;
                let alpn: &[u8] = if settings.http2 { b"h2" } else { b"http/1.1" };
                Some((tls::client(alpn)?, name))
            }
            _ => None,
        };
        Ok(Self {
            address,
            tls,
            timeout: settings.connect_timeout,
            gone_after: settings.gone_after(),
            probe_after: settings.probe_after(),
            receive: receive(settings),
            turn: AtomicUsize::new(0),
        })
    }

    pub(super) fn address(&self) -> &OriginAddress {
        &self.address
    }

    /// A new connection, which holds its `place` until it is closed, or why there is none.
    pub(super) async fn dial(
        &self,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<(Line, Watch), OriginError> {
        match timeout(self.timeout, self.connect(place)).await {
            Ok(Ok(dialed)) => Ok(dialed),
            Ok(Err(error)) if is_of_open_files(&error) => {
                Err(OriginError::new(OriginErrorKind::OpenFiles, error))
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Err(OriginError::new(OriginErrorKind::DialTimeout, error))
            }
            Ok(Err(error)) => Err(OriginError::new(OriginErrorKind::DialFailed, error)),
            Err(elapsed) => Err(OriginError::new(OriginErrorKind::DialTimeout, elapsed)),
        }
    }

    async fn connect(&self, place: Option<OwnedSemaphorePermit>) -> io::Result<(Line, Watch)> {
        let socket = match &self.address.place {
            Place::Unix(path) => Socket::unix(UnixStream::connect(path).await?, place),
            Place::Tcp { host, port, .. } => {
                let tcp = self.connect_tcp(host, *port).await?;
                // Small requests must not wait for an acknowledgement.
                let _ = tcp.set_nodelay(true);
                // What the service does not take stays with its client, not in a buffer of megabytes.
                let unsent = Unsent::new(&tcp, UNSENT);
                self.notice_silence(&tcp);
                Socket::tcp(tcp, unsent, place)
            }
        };
        let watch = socket.watch();
        let line = match &self.tls {
            None => Line::Clear(socket),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                // Boxed, or a dial in clear would take the room of a TLS handshake.
                Line::Tls(Box::new(Box::pin(connector.connect(name.clone(), socket)).await?))
            }
        };
        Ok((line, watch))
    }

    /// Lets the kernel find out that the peer's machine has vanished: without it a request or a tunnel over a dead
    /// connection waits for a quarter of an hour, or for ever. Where it cannot be set, timeouts of our own remain.
    fn notice_silence(&self, tcp: &TcpStream) {
        let socket = SockRef::from(tcp);
        let probes = TcpKeepalive::new().with_time(self.probe_after).with_interval(self.probe_after / 3);
        let _ = socket.set_tcp_keepalive(&probes);
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(Some(self.gone_after));
    }

    /// Tries every address of the name, beginning with another one each time.
    async fn connect_tcp(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let addresses = in_turn(lookup_host((host, port)).await?.collect(), &self.turn);
        connect_any(&addresses, self.receive, Instant::now() + self.timeout).await
    }
}

/// Did this process, or this machine, have none left?
fn is_of_open_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Begins with the next address each time, and leaves out none.
fn in_turn(mut addresses: Vec<SocketAddr>, turn: &AtomicUsize) -> Vec<SocketAddr> {
    let first = turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1);
    addresses.rotate_left(first);
    addresses
}

/// Over HTTP/2 everything is read at once, and credit bounds it.
fn receive(settings: &OriginSettings) -> Option<u32> {
    let memory = settings.memory.as_ref().filter(|_| !settings.http2)?;
    u32::try_from(memory.plan().receive()).ok()
}

async fn connect(address: SocketAddr, receive: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = receive {
        // Before it connects: the first thing that the other side hears is how much it may send.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(address).await
}

/// Tries one after the other. Each has an equal share of the time that is left, so that one that does not answer
/// leaves time for the next.
async fn connect_any(addresses: &[SocketAddr], receive: Option<u32>, due: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = due.saturating_duration_since(Instant::now()) / left;
        match timeout(share, connect(*address, receive)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_notices_that_the_other_machine_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        for (answer, gone, probe) in [(60, 30, 15), (1, 10, 5), (600, 300, 150)] {
            let settings =
                OriginSettings { head_timeout: Duration::from_secs(answer), ..OriginSettings::default() };
            let dialer = Dialer::new(url.parse().unwrap(), &settings).unwrap();
            let (line, _) = dialer.dial(None).await.unwrap();
            let Line::Clear(socket) = line else { panic!("no TLS was asked for") };
            socket.with_tcp(|tcp| {
                let socket = SockRef::from(tcp);
                assert!(socket.keepalive().unwrap());
                assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(gone)));
                assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(probe));
                assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(probe / 3));
            });
        }
    }

    #[tokio::test]
    async fn the_addresses_of_a_name_take_turns() {
        let named = |last: u8| SocketAddr::from(([127, 0, 0, last], 80));
        let all = [named(1), named(2), named(3)];
        let turn = AtomicUsize::new(usize::MAX - 1); // it goes round
        let firsts: Vec<_> = (0..7).map(|_| in_turn(all.to_vec(), &turn)).collect();
        for mut tried in firsts.clone() {
            tried.sort();
            assert_eq!(tried, all, "each is tried each time");
        }
        // One after the other, but for the one moment in which the count begins again.
        let at = |index: usize| firsts[index][0];
        assert_eq!((at(2), at(3), at(4), at(5)), (all[0], all[1], all[2], all[0]));
        assert_eq!(in_turn(Vec::new(), &turn), []);
        // A name that is looked up, whose addresses may be two (`::1` and `127.0.0.1`): whichever comes first, the one
        // that listens is found.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let dialer = Dialer::new(url.parse().unwrap(), &OriginSettings::default()).unwrap();
        for dialed in 1..=4 {
            dialer.dial(None).await.unwrap();
            assert_eq!(dialer.turn.load(Ordering::Relaxed), dialed);
        }
    }

    /// An address that answers nothing: its backlog is full, so the system drops what else comes.
    async fn deaf() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(tcp)) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            waiting.push(tcp);
        }
        (address, waiting, listener)
    }

    #[tokio::test]
    async fn an_address_that_is_dead_or_deaf_leaves_time_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        // Bound and not listening: nobody else is given its port meanwhile.
        let nobody = TcpSocket::new_v4().unwrap();
        nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let dead = nobody.local_addr().unwrap();
        let (deaf, _waiting, _listener) = deaf().await;
        for addresses in [[dead, alive], [alive, dead], [deaf, alive], [alive, deaf]] {
            let due = Instant::now() + Duration::from_secs(2);
            let tcp = connect_any(&addresses, None, due).await.unwrap();
            assert_eq!(tcp.peer_addr().unwrap(), alive);
        }
        for (addresses, kind, within) in [
            (&[deaf][..], io::ErrorKind::TimedOut, 50),
            (&[dead], io::ErrorKind::ConnectionRefused, 10_000),
            (&[], io::ErrorKind::NotFound, 10_000),
        ] {
            let due = Instant::now() + Duration::from_millis(within);
            assert_eq!(connect_any(addresses, None, due).await.unwrap_err().kind(), kind);
        }
    }
}
