//! The kernel's locks on the sizes of a socket's buffers (`SO_BUF_LOCK`, Linux since 5.14): whoever sets a size locks it, and
//! the kernel tunes it again once the lock is taken off.

use std::io;
use std::os::fd::AsFd;

/// Whose size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Send,
    Receive,
}

/// An option that holds one number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    WindowClamp,
    BufferLock,
}

impl Side {
    /// `SOCK_SNDBUF_LOCK` and `SOCK_RCVBUF_LOCK` (linux/socket.h).
    const fn bit(self) -> i32 {
        match self {
            Self::Send => 1,
            Self::Receive => 2,
        }
    }
}

/// Takes off the lock of this side; the other stays as it is.
pub(crate) fn take_off(socket: &impl AsFd, side: Side) -> io::Result<()> {
    let locks = option(socket, Name::BufferLock)?;
    set_option(socket, Name::BufferLock, locks & !side.bit())
}

#[cfg(target_os = "linux")]
fn number(name: Name) -> (libc::c_int, libc::c_int) {
    match name {
        Name::WindowClamp => (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
        Name::BufferLock => (libc::SOL_SOCKET, libc::SO_BUF_LOCK),
    }
}

#[cfg(target_os = "linux")]
fn option(socket: &impl AsFd, name: Name) -> io::Result<i32> {
    use std::os::fd::AsRawFd;

    let (level, name) = number(name);
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, so it is open. The kernel writes at most `length` bytes, which is the size of
    // `value`, an integer: any bytes are valid, also if it writes fewer.
    let result = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_os = "linux")]
pub(crate) fn set_option(socket: &impl AsFd, name: Name, value: i32) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let (level, name) = number(name);
    let value: libc::c_int = value;
    // SAFETY: the descriptor is borrowed, so it is open. The kernel reads as many bytes as `value` has, which lives until
    // the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn option(_: &impl AsFd, _: Name) -> io::Result<i32> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn set_option(_: &impl AsFd, _: Name, _: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn one_lock_is_taken_off_and_the_other_stays() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_send_buffer_size(20_000).unwrap();
        socket.set_recv_buffer_size(20_000).unwrap();
        assert_eq!(option(&socket, Name::BufferLock).unwrap(), 3);
        take_off(&socket, Side::Send).unwrap();
        assert_eq!(option(&socket, Name::BufferLock).unwrap(), Side::Receive.bit());
        take_off(&socket, Side::Receive).unwrap();
        assert_eq!(option(&socket, Name::BufferLock).unwrap(), 0);
    }
}
