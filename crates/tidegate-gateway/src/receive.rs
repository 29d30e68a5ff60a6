//! What the kernel lets be said about its receive buffers, and what it may be told at most.
//!
//! Left alone it tunes them itself: from 128 KiB up to 6 MB and more (`tcp_rmem`) for whoever is read quickly, and it keeps
//! that when nobody reads any more. A size that is set holds instead. Set before a connection begins, it would also bound
//! for ever what window the connection can have (RFC 7323 §2.2); so a listener's size is set and its lock taken off again:
//! connections begin with it, and with a scale for large windows.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::buffer_lock::{self, Name, Side};

/// The sizes that the kernel gives and takes, in bytes as it counts them: what is received and what it keeps beside that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// What a connection begins with if nobody says anything (`tcp_rmem`).
    pub(crate) first: usize,
    /// The most that can be said (`net.core.rmem_max`, twice).
    pub(crate) settable: usize,
    /// The most that it gives by itself (`tcp_rmem`); as much as can be said where that is not known.
    pub(crate) most: usize,
}

/// The limits of this machine; `None` where a size cannot be set and its lock be taken off again (Linux does both since
/// 5.14).
pub(crate) fn limits() -> Option<&'static Limits> {
    static LIMITS: OnceLock<Option<Limits>> = OnceLock::new();
    LIMITS.get_or_init(|| look().ok()).as_ref()
}

fn look() -> io::Result<Limits> {
    let new = |domain| Socket::new(domain, Type::STREAM, Some(Protocol::TCP));
    let socket = new(Domain::IPV4).or_else(|_| new(Domain::IPV6))?;
    let first = socket.recv_buffer_size()?;
    socket.set_recv_buffer_size(i32::MAX as usize / 2)?;
    unlock(&socket)?;
    let settable = socket.recv_buffer_size()?;
    let most = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").ok();
    let most = most.and_then(|three| three.split_whitespace().nth(2)?.parse().ok()).unwrap_or(settable);
    Ok(Limits { first, settable, most })
}

/// From now on this size, and no other. Bytes that have come stay.
pub(crate) fn set(socket: &impl AsFd, size: usize) -> io::Result<()> {
    // The kernel takes twice what is said, for what it keeps beside the bytes.
    SockRef::from(socket).set_recv_buffer_size(size / 2)
}

/// Connections of this listener will begin with this size, and with the scale that the largest of the kernel's asks for.
pub(crate) fn begin_with(listener: &impl AsFd, size: usize) -> io::Result<()> {
    set(listener, size)?;
    unlock(listener)
}

/// Lets a connection with a larger size also announce a larger window, which it keeps at what it began with otherwise.
pub(crate) fn open_window(socket: &impl AsFd, size: usize) -> io::Result<()> {
    buffer_lock::set_option(socket, Name::WindowClamp, i32::try_from(size).unwrap_or(i32::MAX))
}

/// From now on the kernel tunes the size, from what it is.
pub(crate) fn unlock(socket: &impl AsFd) -> io::Result<()> {
    buffer_lock::take_off(socket, Side::Receive)
}

/// What the kernel holds of what a socket received, and of what it is to send, with what it keeps at hand.
#[cfg(test)]
pub(crate) fn held(socket: &impl AsFd) -> io::Result<(usize, usize)> {
    use std::os::fd::AsRawFd;

    // `SK_MEMINFO_RMEM_ALLOC` is the first, `SK_MEMINFO_FWD_ALLOC` the fifth, `SK_MEMINFO_WMEM_QUEUED` the sixth
    // (linux/sock_diag.h).
    let mut figures = [0_i32; 9];
    let mut length = size_of_val(&figures) as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, so it is open. The kernel writes at most `length` bytes, which is the size of
    // `figures`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            figures.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let at_hand = figures[4].max(0);
    if result == 0 {
        Ok(((figures[0] + at_hand) as usize, (figures[5] + at_hand) as usize))
    } else {
        Err(io::Error::last_os_error())
    }
}
