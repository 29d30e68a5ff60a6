//! A connection (TCP or unix) that can be watched from beside, and that notices a reader which does not read.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::body::{Pace, PaceSettings};

/// One end of a connection, shared with a [`Watch`].
#[derive(Debug)]
pub(crate) struct Socket {
    end: Arc<End>,
    pace: Option<Pace>,
    /// Nothing more can be read.
    read_over: bool,
}

/// Sees that the peer has gone, while somebody else owns the [`Socket`].
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    end: Arc<End>,
}

#[derive(Debug)]
enum End {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same call on either kind of socket.
macro_rules! on_end {
    ($end:expr, $socket:ident => $call:expr) => {
        match &*$end {
            End::Tcp($socket) => $call,
            End::Unix($socket) => $call,
        }
    };
}

impl Socket {
    /// A socket whose writes fail when the peer reads slower than it must.
    pub(crate) fn paced(tcp: TcpStream, pace: PaceSettings) -> Self {
        Self { end: Arc::new(End::Tcp(tcp)), pace: Some(Pace::new(pace)), read_over: false }
    }

    /// A socket whose writes wait as long as it takes. A peer that takes no more bytes may have answered already (it
    /// refuses an upload, say, and closes): until its side has been read to the end, what is written is dropped
    /// in silence, so that the answer is not lost for a failed write.
    pub(crate) fn tcp(tcp: TcpStream) -> Self {
        Self { end: Arc::new(End::Tcp(tcp)), pace: None, read_over: false }
    }

    /// The same of a unix socket.
    pub(crate) fn unix(unix: UnixStream) -> Self {
        Self { end: Arc::new(End::Unix(unix)), pace: None, read_over: false }
    }

    /// Lets a test look at the options of a TCP connection.
    #[cfg(test)]
    pub(crate) fn with_tcp(&self, look: impl FnOnce(&TcpStream)) {
        match &*self.end {
            End::Tcp(tcp) => look(tcp),
            End::Unix(_) => panic!("a unix socket"),
        }
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch { end: Arc::clone(&self.end) }
    }

    /// `attempt`s a write until it does not block, or the peer has been too slow.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        attempt: impl Fn(&End) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match on_end!(self.end, socket => socket.poll_write_ready(cx)) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => match &mut self.pace {
                    Some(pace) => {
                        let slow = ready!(pace.poll_stalled(cx));
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, slow)));
                    }
                    None => return Poll::Pending,
                },
            }
            match attempt(&self.end) {
                Ok(sent) => {
                    if let Some(pace) = &mut self.pace {
                        pace.moved(sent as u64)
                            .map_err(|slow| io::Error::new(io::ErrorKind::TimedOut, slow))?;
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if self.pace.is_none() && !self.read_over && takes_no_more(&error) => {
                    return Poll::Ready(Ok(length));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn takes_no_more(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn would_block() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

impl Watch {
    /// Resolves when the peer has closed its side, or the connection is broken. Bytes that nobody has read yet do
    /// not hide it. Cancel safe.
    pub(crate) async fn gone(&self) {
        // PRIORITY is never registered for, so what ends this is the closed read side, which every interest
        // carries (EPOLLRDHUP, EPOLLHUP).
        while let Ok(ready) = on_end!(self.end, socket => socket.ready(Interest::PRIORITY).await) {
            if ready.is_read_closed() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Tells the peer that no more will be written. What it still sends can be read.
    pub(crate) fn half_close(&self) {
        // An error means the connection is gone already.
        let _ = on_end!(self.end, socket => SockRef::from(socket).shutdown(Shutdown::Write));
    }

    /// Reads and forgets until the peer closes, or `limit` bytes have come: closing with unread bytes would make
    /// the kernel send a reset, which can overtake the answer (RFC 9112 §9.6). Cancel safe.
    pub(crate) async fn discard(&self, limit: u64) {
        let mut left = limit;
        // Not an array: it would be part of every connection's future from its begin.
        let mut room = vec![0; 4096];
        while left > 0 && on_end!(self.end, socket => socket.readable().await).is_ok() {
            match on_end!(self.end, socket => socket.try_read(&mut room)) {
                Ok(0) => return,
                Ok(read) => left = left.saturating_sub(read as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(on_end!(self.end, socket => socket.poll_read_ready(cx)))?;
            let (before, room) = (buffer.filled().len(), buffer.remaining());
            // What leaves room has emptied the socket: said to the runtime here, it spares the next poll a system call
            // that would find nothing.
            let emptied = |read: usize| if 0 < read && read < room { Err(would_block()) } else { Ok(()) };
            let read = on_end!(self.end, socket => socket
                .try_io(Interest::READABLE, || socket.try_read_buf(buffer).and_then(emptied)));
            match read {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    self.read_over = true;
                    return Poll::Ready(Err(error));
                }
                Err(_) if buffer.filled().len() == before => {}
                _ => {
                    self.read_over = room > 0 && buffer.filled().len() == before;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, bytes.len(), |end| on_end!(end, socket => socket.try_write(bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.poll_write_with(cx, length, |end| on_end!(end, socket => socket.try_write_vectored(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(on_end!(self.end, socket => SockRef::from(socket).shutdown(Shutdown::Write)))
    }
}
