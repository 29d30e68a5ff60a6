//! What the kernel holds of a connection's bytes: told how much it may, asked how much it does, and dropped with a reset.

use std::io;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// A socket whose kernel memory a [`Writer`](super::Writer) bounds and counts: tokio's [`TcpStream`] and [`UnixStream`],
/// and their owned write halves.
pub trait Socket: AsyncWrite + Unpin + sealed::Held {}

impl<S: AsyncWrite + Unpin + sealed::Held> Socket for S {}

pub(super) mod sealed {
    use super::{TcpStream, UnixStream, tcp, unix};

    /// The socket itself.
    #[derive(Clone, Copy, Debug)]
    pub enum Stream<'s> {
        Tcp(&'s TcpStream),
        Unix(&'s UnixStream),
    }

    pub trait Held {
        fn stream(&self) -> Stream<'_>;
    }

    impl Held for TcpStream {
        fn stream(&self) -> Stream<'_> {
            Stream::Tcp(self)
        }
    }

    impl Held for tcp::OwnedWriteHalf {
        fn stream(&self) -> Stream<'_> {
            Stream::Tcp(self.as_ref())
        }
    }

    impl Held for UnixStream {
        fn stream(&self) -> Stream<'_> {
            Stream::Unix(self)
        }
    }

    impl Held for unix::OwnedWriteHalf {
        fn stream(&self) -> Stream<'_> {
            Stream::Unix(self.as_ref())
        }
    }
}

use sealed::Stream;

/// Bounds what the kernel holds of a socket's outgoing bytes, in about `bytes`: for a connection whose [`Writer`](super::Writer)
/// writes [over](super::Writers::over) something on top of it, such as TLS.
///
/// # Errors
/// If the kernel does not take the bound; elsewhere than on Linux it is not asked to for TCP.
pub fn bound_kernel(socket: &impl Socket, bytes: u64) -> io::Result<()> {
    match socket.stream() {
        Stream::Tcp(tcp) => option::unsent_at_most(tcp, bytes),
        // The kernel takes twice this (socket(7)), counts its own overhead in, and is writable below a quarter of it.
        Stream::Unix(unix) => {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            Ok(rustix::net::sockopt::set_socket_send_buffer_size(unix, bytes)?)
        }
    }
}

/// A writer's way to its socket. A pair of pointers, so that what is written to need not be a socket.
pub(super) struct Kernel<W> {
    stream: fn(&W) -> Stream<'_>,
    /// The kernel took the bound, and says what it holds.
    counted: bool,
}

impl<W: Socket> Kernel<W> {
    /// Tells the kernel to hold about `bytes` unsent, and to say when it holds less than half of that.
    pub(super) fn bound(io: &W, bytes: u64) -> Self {
        let (stream, bounded) = (W::stream, bound_kernel(io, bytes));
        Self { stream, counted: bounded.is_ok() && unsent(io.stream()).is_some() }
    }
}

impl<W> Kernel<W> {
    pub(super) const fn counts(&self) -> bool {
        self.counted
    }

    /// Bytes that the kernel has and has not sent; of a Unix socket, the memory of those that its peer has not read.
    pub(super) fn unsent(&self, io: &W) -> u64 {
        unsent((self.stream)(io)).unwrap_or_default()
    }

    /// Ready when the kernel has so little that it would say "writable": less than half of what it was told.
    pub(super) fn poll_drained(&self, io: &W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let drained = match (self.stream)(io) {
                Stream::Tcp(tcp) => {
                    std::task::ready!(tcp.poll_write_ready(cx))?;
                    tcp.try_io(Interest::WRITABLE, || ask(tcp))
                }
                Stream::Unix(unix) => {
                    std::task::ready!(unix.poll_write_ready(cx))?;
                    unix.try_io(Interest::WRITABLE, || ask(unix))
                }
            };
            match drained {
                // What tokio remembered is forgotten now: the next look registers for the kernel's word.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                drained => return Poll::Ready(drained),
            }
        }
    }

    /// Drops the connection and what the kernel has of it. A TCP peer gets a reset, not an end that looks whole; also when
    /// the other half of the stream lives on. A Unix socket has no reset: its peer sees the end.
    pub(super) fn abort(&self, io: &W) {
        // If it fails there is no connection any more.
        let _ = match (self.stream)(io) {
            // Connecting to nowhere dissolves a connection, with a reset (tcp_disconnect in net/ipv4/tcp.c). A linger of zero
            // alone would not do it: dropping a write half sends an orderly end before the descriptor is closed. It is for
            // systems that do not dissolve connections so.
            Stream::Tcp(tcp) => {
                let _ = rustix::net::sockopt::set_socket_linger(tcp, Some(std::time::Duration::ZERO));
                rustix::net::connect_unspec(tcp)
            }
            Stream::Unix(unix) => rustix::net::shutdown(unix, rustix::net::Shutdown::Both),
        };
    }
}

impl<W> std::fmt::Debug for Kernel<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("counted", &self.counted).finish_non_exhaustive()
    }
}

/// Does poll(2) call it writable? Asking also makes the kernel say so later (`SOCK_NOSPACE`).
fn ask(socket: impl std::os::fd::AsFd) -> io::Result<()> {
    let mut asked = [PollFd::new(&socket, PollFlags::OUT)];
    match poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn unsent(stream: Stream<'_>) -> Option<u64> {
    match stream {
        Stream::Tcp(tcp) => option::queued(tcp, option::UNSENT),
        Stream::Unix(unix) => option::queued(unix, option::UNREAD),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unsent(_: Stream<'_>) -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod option {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd};

    /// Of a TCP socket, what it has not sent yet (`SIOCOUTQNSD`, linux/sockios.h).
    pub(super) const UNSENT: libc::c_ulong = 0x894B;
    /// Of a Unix socket, the memory of what its peer has not read yet (`SIOCOUTQ`, which is `TIOCOUTQ`).
    pub(super) const UNREAD: libc::c_ulong = libc::TIOCOUTQ as libc::c_ulong;

    pub(super) fn unsent_at_most(socket: impl AsFd, bytes: u64) -> io::Result<()> {
        let bytes = libc::c_uint::try_from(bytes).unwrap_or(libc::c_uint::MAX);
        // SAFETY: the descriptor is borrowed, so it is open. The kernel reads `size_of::<c_uint>()` bytes at the pointer,
        // which points at a `c_uint` that outlives the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_NOTSENT_LOWAT,
                (&raw const bytes).cast(),
                size_of::<libc::c_uint>() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn queued(socket: impl AsFd, which: libc::c_ulong) -> Option<u64> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is borrowed, so it is open. Both requests write one `int`, to a place that is one. The cast is
        // to what the C library takes: `unsigned long` (glibc) or `int` (musl); the numbers fit both.
        let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), which as _, &raw mut bytes) };
        if result == 0 { u64::try_from(bytes).ok() } else { None }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod option {
    /// Elsewhere the kernel is not told, and not counted.
    pub(super) fn unsent_at_most(_: impl std::os::fd::AsFd, _: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
