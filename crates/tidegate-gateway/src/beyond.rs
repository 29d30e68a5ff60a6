//! One read into two places: a buffer, and what comes after it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::ReadBuf;

/// Reads into `buffer`, and when that is full into `beyond`. How many bytes of `beyond` it took.
pub(crate) fn read(socket: impl AsFd, buffer: &mut ReadBuf<'_>, beyond: &mut [u8]) -> io::Result<usize> {
    let room = buffer.remaining();
    // SAFETY: nothing is read from `rest`, and nothing written to it but by the kernel, which writes bytes of its own.
    let rest = unsafe { buffer.unfilled_mut() };
    let places = [
        libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: room },
        libc::iovec { iov_base: beyond.as_mut_ptr().cast(), iov_len: beyond.len() },
    ];
    // SAFETY: the descriptor is borrowed, so it is open. Each of the two places is borrowed mutably for this call, and as
    // long as it says: `unfilled_mut` gives `remaining` bytes.
    let read = unsafe { libc::readv(socket.as_fd().as_raw_fd(), places.as_ptr(), 2) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    let into_buffer = read.min(room);
    // SAFETY: the kernel fills the places in their order, so it has written the first `into_buffer` bytes of `rest`.
    unsafe { buffer.assume_init(into_buffer) };
    buffer.advance(into_buffer);
    Ok(read - into_buffer)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::mem::MaybeUninit;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_does_not_fit_comes_after() {
        let (mut one, other) = UnixStream::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        let (mut room, mut beyond) = ([MaybeUninit::uninit(); 8], [0; 3]);
        let mut buffer = ReadBuf::uninit(&mut room);
        buffer.put_slice(b"..");
        let nothing = read(&other, &mut buffer, &mut beyond).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        for (sent, filled, after) in [
            ("abcd", "..abcd", ""),
            ("ef", "..abcdef", ""),
            ("ghijk", "..abcdef", "ghi"),
            ("", "..abcdef", "jk"),
        ] {
            one.write_all(sent.as_bytes()).unwrap();
            let more = read(&other, &mut buffer, &mut beyond).unwrap();
            assert_eq!((buffer.filled(), &beyond[..more]), (filled.as_bytes(), after.as_bytes()));
        }
        drop(one);
        assert_eq!(read(&other, &mut buffer, &mut beyond).unwrap(), 0);
        // Both at once.
        let (mut one, other) = UnixStream::pair().unwrap();
        let mut room = [MaybeUninit::uninit(); 4];
        let mut buffer = ReadBuf::uninit(&mut room);
        one.write_all(b"abcdefgh").unwrap();
        assert_eq!(read(&other, &mut buffer, &mut beyond).unwrap(), 3);
        assert_eq!((buffer.filled(), &beyond), (&b"abcd"[..], b"efg"));
    }
}
