//! One connection: which protocol it speaks, and the bytes that were read to find out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::memory::{Account, Kind};
use crate::socket::{Socket, Watch};
use crate::unsent::Unsent;

use super::frames::ReadBeyond;
use super::listener::Accepted;
use super::{Caller, Client, ListenSettings, Protocol, Serve, Shutdown, http1, http2};

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are read at once to find out the protocol: a whole request, mostly.
const OPENING_BYTES: usize = 4096;

/// A client's connection, in clear or not, with what was read ahead of its protocol.
#[derive(Debug)]
pub(super) struct Stream {
    ahead: Vec<u8>,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Clear(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Serves one accepted connection to its end.
pub(super) fn serve<S: Serve>(
    accepted: Accepted,
    local: SocketAddr,
    service: Arc<S>,
    settings: Arc<ListenSettings>,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + Send {
    let Accepted { tcp, peer, permit, account } = accepted;
    // A block, because an `async fn` keeps what it was given beside what it makes of it, in every idle connection.
    async move {
        let opened = open_in_time(tcp, peer, account.as_ref(), &settings, &shutdown).await;
        let Some((mut stream, watch, tls, protocol)) = opened else { return };
        let Ok(forwarded_for) = HeaderValue::try_from(peer.ip().to_canonical().to_string()) else { return };
        if let Some(account) = &account {
            account.speaks(if protocol == Protocol::Http2 { Kind::Http2 } else { Kind::Http1 });
        }
        let _connection = Arc::new(permit);
        let client = Client { peer, local, tls, protocol, forwarded_for, account, _connection };
        let caller = Arc::new(Caller { service, client });
        match protocol {
            Protocol::Http1 => http1::serve(stream, watch, caller, &settings, &shutdown).await,
            Protocol::Http2 => {
                stream.receives_freely();
                // Apart, because it is more than twice as large, and would be part of every idle HTTP/1 connection.
                Box::pin(http2::serve(stream, caller, &settings, &shutdown)).await;
            }
        }
    }
}

/// What a connection speaks, and whether over TLS, if that is known in the time of a head.
async fn open_in_time(
    tcp: TcpStream,
    peer: SocketAddr,
    account: Option<&Arc<Account>>,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> Option<(Stream, Watch, bool, Protocol)> {
    // Small answers must not wait for an acknowledgement; an error means the connection is gone.
    let _ = tcp.set_nodelay(true);
    let unsent = Unsent::untried(&tcp, settings.unsent_bytes);
    let socket = Socket::paced(tcp, unsent, settings.pace, account);
    let watch = socket.watch();
    let opened = tokio::select! {
        biased;
        () = shutdown.on_drain() => return None,
        opened = timeout(settings.head_timeout, open(socket, settings)) => opened.ok()?,
    };
    match opened {
        Ok((stream, tls, protocol)) => Some((stream, watch, tls, protocol)),
        Err(error) => {
            tracing::debug!(%peer, %error, "no protocol came to be");
            None
        }
    }
}

async fn open(mut socket: Socket, settings: &ListenSettings) -> io::Result<(Stream, bool, Protocol)> {
    if let Some(config) = &settings.tls {
        let stream = Box::pin(TlsAcceptor::from(Arc::clone(config)).accept(socket)).await?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let transport = Transport::Tls(Box::new(stream));
        return Ok((Stream { ahead: Vec::new(), transport }, true, protocol));
    }
    // Not an array: it would be part of every connection's future to its end.
    let mut ahead = Vec::with_capacity(OPENING_BYTES);
    let protocol = loop {
        if socket.read_buf(&mut ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if ahead.starts_with(PREFACE) {
            break Protocol::Http2;
        }
        if !PREFACE.starts_with(&ahead) {
            break Protocol::Http1;
        }
    };
    Ok((Stream { ahead, transport: Transport::Clear(socket) }, false, protocol))
}

impl Stream {
    /// Other credit bounds what comes.
    fn receives_freely(&mut self) {
        match &mut self.transport {
            Transport::Clear(socket) => socket.receives_freely(),
            Transport::Tls(stream) => stream.get_mut().0.receives_freely(),
        }
    }
}

impl ReadBeyond for Stream {
    fn poll_read_beyond(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        beyond: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match &mut this.transport {
            Transport::Clear(socket) if this.ahead.is_empty() => socket.poll_read_beyond(cx, buffer, beyond),
            _ => self.poll_read(cx, buffer).map_ok(|()| 0),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let some = self.ahead.len().min(buffer.remaining());
            let rest = self.ahead.split_off(some);
            buffer.put_slice(&self.ahead);
            self.ahead = rest;
            return Poll::Ready(Ok(()));
        }
        match &mut self.transport {
            Transport::Clear(socket) => Pin::new(socket).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Clear(socket) => Pin::new(socket).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Clear(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Clear(socket) => socket.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Clear(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Clear(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::Gateway;

    use super::serve;

    /// Its task is part of what ten thousand idle connections cost (`scripts/bench-cost idle`, 150 MB).
    #[test]
    fn an_http1_connection_does_not_carry_what_other_protocols_need() {
        const fn size<A, B, C, D, E, F>(_: &impl FnOnce(A, B, C, D, E) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(&serve::<Gateway>);
        assert!(bytes <= 1920, "the task of a connection takes {bytes} bytes");
    }
}
