//! [`Listen`]: the listeners that [`Accept`](super::Accept) works for.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::kernel::{self, Backlog};

/// A listener of tokio's: TCP or unix. Sealed.
pub trait Listen: sealed::Sealed + Debug + Send + Sized {
    /// What is accepted.
    type Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static;
    /// Where it comes from.
    type Address: Clone + Debug + Send;

    /// The listening socket.
    #[doc(hidden)]
    type Socket: AsFd + AsRawFd + Debug + Send + Sync;

    /// Takes it out of tokio's hands: tokio's own listener says only with a connection in its hands that there is one.
    #[doc(hidden)]
    fn into_socket(self) -> io::Result<Self::Socket>;

    #[doc(hidden)]
    fn address(socket: &Self::Socket) -> io::Result<Self::Address>;

    /// The next connection of the accept queue, without waiting.
    #[doc(hidden)]
    fn take(socket: &Self::Socket) -> io::Result<(Self::Stream, Self::Address)>;

    /// Has the peer reset the connection already?
    #[doc(hidden)]
    fn is_broken(stream: &Self::Stream) -> bool;

    /// Closes the connection so that the peer hears at once that it was not served.
    #[doc(hidden)]
    fn reset(stream: Self::Stream);

    #[doc(hidden)]
    fn backlog(socket: &Self::Socket) -> io::Result<Backlog>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for tokio::net::TcpListener {}
    impl Sealed for tokio::net::UnixListener {}
}

impl Listen for TcpListener {
    type Stream = TcpStream;
    type Address = std::net::SocketAddr;
    type Socket = std::net::TcpListener;

    fn into_socket(self) -> io::Result<Self::Socket> {
        self.into_std()
    }

    fn address(socket: &Self::Socket) -> io::Result<Self::Address> {
        socket.local_addr()
    }

    fn take(socket: &Self::Socket) -> io::Result<(Self::Stream, Self::Address)> {
        let (stream, peer) = socket.accept()?;
        stream.set_nonblocking(true)?;
        Ok((TcpStream::from_std(stream)?, peer))
    }

    fn is_broken(stream: &Self::Stream) -> bool {
        !matches!(stream.take_error(), Ok(None))
    }

    fn reset(stream: Self::Stream) {
        // Should it fail, the connection is closed all the same.
        let _ = stream.set_zero_linger();
    }

    fn backlog(socket: &Self::Socket) -> io::Result<Backlog> {
        kernel::tcp_backlog(socket.as_fd())
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;
    type Address = std::os::unix::net::SocketAddr;
    type Socket = std::os::unix::net::UnixListener;

    fn into_socket(self) -> io::Result<Self::Socket> {
        self.into_std()
    }

    fn address(socket: &Self::Socket) -> io::Result<Self::Address> {
        socket.local_addr()
    }

    fn take(socket: &Self::Socket) -> io::Result<(Self::Stream, Self::Address)> {
        let (stream, peer) = socket.accept()?;
        stream.set_nonblocking(true)?;
        Ok((UnixStream::from_std(stream)?, peer))
    }

    fn is_broken(stream: &Self::Stream) -> bool {
        !matches!(stream.take_error(), Ok(None))
    }

    fn reset(stream: Self::Stream) {
        drop(stream);
    }

    fn backlog(_: &Self::Socket) -> io::Result<Backlog> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
