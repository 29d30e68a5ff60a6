//! A new connection to the origin.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::socket::{Socket, Watch};
use crate::tls::{self, TlsError};

use super::address::{OriginAddress, Place};
use super::{OriginError, OriginErrorKind, OriginSettings};

/// Opens connections to one origin.
#[derive(Debug)]
pub(super) struct Dialer {
    address: OriginAddress,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: std::time::Duration,
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
        Ok(Self { address, tls, timeout: settings.connect_timeout, turn: AtomicUsize::new(0) })
    }

    pub(super) fn address(&self) -> &OriginAddress {
        &self.address
    }

    /// A new connection, or why there is none.
    pub(super) async fn dial(&self) -> Result<(Line, Watch), OriginError> {
        match timeout(self.timeout, self.connect()).await {
            Ok(Ok(dialed)) => Ok(dialed),
            Ok(Err(error)) => Err(OriginError::new(OriginErrorKind::DialFailed, error)),
            Err(elapsed) => Err(OriginError::new(OriginErrorKind::DialTimeout, elapsed)),
        }
    }

    async fn connect(&self) -> io::Result<(Line, Watch)> {
        let socket = match &self.address.place {
            Place::Unix(path) => Socket::unix(UnixStream::connect(path).await?),
            Place::Tcp { host, port, .. } => {
                let tcp = self.connect_tcp(host, *port).await?;
                // Small requests must not wait for an acknowledgement.
                let _ = tcp.set_nodelay(true);
                Socket::tcp(tcp)
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

    /// Tries every address of the name, beginning with another one each time.
    async fn connect_tcp(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses.iter().cycle().skip(first).take(addresses.len()) {
            match TcpStream::connect(address).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
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
