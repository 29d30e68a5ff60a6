//! [`Listen`]: the listeners that [`Accept`](super::Accept) works for.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::kernel::{self, Backlog};

/// Of what a client has sent, 64 KiB at most are read and forgotten: more than a request's head.
const MOST_READS: u32 = 16;

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

    /// Says what fits into its send buffer and closes it, all without waiting. Not through tokio, which has yet to hear
    /// from the kernel that a new connection can be written to.
    #[doc(hidden)]
    fn tell_in_passing(stream: Self::Stream, said: &[u8]);

    #[doc(hidden)]
    fn backlog(socket: &Self::Socket) -> io::Result<Backlog>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for tokio::net::TcpListener {}
    impl Sealed for tokio::net::UnixListener {}
}

/// Writes, says that this was all, and forgets what has come: closing with unread bytes would make the kernel send a
/// reset. Whatever fails, the connection is closed next.
fn say_and_forget<S: Read + Write>(mut socket: S, said: &[u8], finish: impl FnOnce() -> io::Result<()>) {
    let mut room = [0; 4096];
    if socket.write_all(said).and_then(|()| finish()).is_ok() {
        for _ in 0..MOST_READS {
            match socket.read(&mut room) {
                Ok(read) if read > 0 => {}
                _ => break,
            }
        }
    }
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

    fn tell_in_passing(stream: Self::Stream, said: &[u8]) {
        if let Ok(stream) = stream.into_std() {
            say_and_forget(&stream, said, || stream.shutdown(Shutdown::Write));
        }
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

    fn tell_in_passing(stream: Self::Stream, said: &[u8]) {
        if let Ok(stream) = stream.into_std() {
            say_and_forget(&stream, said, || stream.shutdown(Shutdown::Write));
        }
    }

    fn backlog(_: &Self::Socket) -> io::Result<Backlog> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
