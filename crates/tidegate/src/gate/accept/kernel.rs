//! What the kernel has: the accept queue, file descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit};

use crate::sync::{Mutex, lock};

/// The accept queue of a listening socket: connections that the kernel completed and nobody accepted yet. Each holds
/// kernel memory for what the client has sent already, up to the receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Connections in it.
    pub waiting: u64,
    /// The bound given to listen(2), after the kernel's own (`net.core.somaxconn`). Linux lets one more in; beyond that
    /// it drops what completes the connection, and the client tries again a second later.
    pub capacity: u64,
}

impl Backlog {
    /// Do newcomers lose a second or more to repeated attempts?
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.waiting > self.capacity
    }
}

/// The words of `struct tcp_info` (linux/tcp.h) up to the two that matter. For a listening socket, `tcpi_unacked` is the
/// length of the accept queue and `tcpi_sacked` its bound (tcp_get_info in net/ipv4/tcp.c).
#[cfg(any(target_os = "linux", target_os = "android"))]
#[repr(C)]
#[derive(Default)]
struct TcpInfo {
    /// Eight single bytes, `tcpi_state` first.
    head: [u8; 8],
    /// `tcpi_rto`, `tcpi_ato`, `tcpi_snd_mss`, `tcpi_rcv_mss`.
    timing: [u32; 4],
    unacked: u32,
    sacked: u32,
}

/// The accept queue of a TCP listener.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn tcp_backlog(socket: BorrowedFd<'_>) -> io::Result<Backlog> {
    use std::os::fd::AsRawFd;

    let mut info = TcpInfo::default();
    let mut length = size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, so it is open. The kernel writes at most `length` bytes, which is the size of
    // `info`, whose fields are integers in the kernel's layout: any bytes are valid, also if it writes fewer.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Backlog { waiting: info.unacked.into(), capacity: info.sacked.into() })
}

/// Elsewhere the kernel does not say.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn tcp_backlog(_: BorrowedFd<'_>) -> io::Result<Backlog> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Would accept(2) have something to say at once: a connection, or an error?
pub(super) fn has_news(socket: impl AsFd) -> bool {
    let mut socket = [PollFd::new(&socket, PollFlags::IN)];
    // If asking fails, accept(2) itself says why.
    poll(&mut socket, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_or(true, |news| news > 0)
}

/// The most connections for which there are file descriptors: `RLIMIT_NOFILE` less an eighth, and at least 16, for
/// what else a program opens.
pub(super) fn descriptors() -> u64 {
    match getrlimit(Resource::Nofile).current {
        Some(most) => most.saturating_sub((most / 8).max(16)).max(1),
        None => u64::MAX,
    }
}

/// One file descriptor kept for the moment when there is no other.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Option<OwnedFd>>);

impl Spare {
    /// Has one again, if there is one to be had. Any descriptor does: this one needs no file.
    pub(super) fn refill(&self, socket: impl AsFd) {
        let mut spare = lock(&self.0);
        if spare.is_none() {
            *spare = socket.as_fd().try_clone_to_owned().ok();
        }
    }

    /// Gives it to whoever is first. Was there one?
    pub(super) fn lend(&self) -> bool {
        lock(&self.0).take().is_some()
    }
}
