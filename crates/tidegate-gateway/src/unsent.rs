//! [`Unsent`]: how much of a connection's bytes the kernel may hold unsent.
//!
//! `TCP_NOTSENT_LOWAT` alone does not bound it. The kernel compares before it begins a segment, and fills the last one it
//! has whatever that says: a peer that stops reading costs up to 64 KiB more. So whoever writes here hands over as much as
//! the peer has said it takes at once, and one step besides, and then asks again.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::buffer_lock::{self, Side};
use crate::receive;
use crate::sight::Sight;
use crate::untried::{Buffer, Peer, first_step};

/// Pieces of one vectored write; the rest goes with the next.
const PIECES: usize = 16;

/// What a peer may take at once is believed for so many bytes: a segment of the kernel's.
const BELIEVED: usize = 64 * 1024;

/// A bound on what the kernel holds unsent of one connection, and what may be handed over before it is asked again.
#[derive(Debug)]
pub(crate) struct Unsent {
    mark: usize,
    step: usize,
    left: usize,
    peer: Peer,
}

/// The kernel's side of a connection.
pub(crate) trait Kernel {
    /// What it says of it, if it does.
    fn look(&self) -> Option<Sight>;

    /// An error of the kind [`WouldBlock`](io::ErrorKind::WouldBlock) if it does not call it writable, and will say when it
    /// does.
    fn writable(&self) -> io::Result<()>;

    /// Asks for a send buffer.
    fn send_buffer(&self, buffer: Buffer) -> io::Result<()>;
}

impl Unsent {
    /// Tells the kernel to call the connection writable while less than half of `mark` is unsent. Beyond what the peer takes
    /// at once no more than a quarter more than `mark` is handed over then: together seven quarters of it at most. For
    /// 16 KiB that is a frame of HTTP/2 with its head, and with what the kernel keeps beside them less than 32 KiB.
    pub(crate) fn new(tcp: &TcpStream, mark: u32) -> Self {
        tell(tcp, mark);
        let mut this = Self { mark: 0, step: 0, left: usize::MAX, peer: Peer::Tried };
        this.follow(mark);
        this
    }

    /// The same for a peer that may be one of many who read nothing: until it has [shown](Peer) that it takes what it is sent,
    /// no more than one and a half of the mark is held of what it could take, either.
    pub(crate) fn untried(tcp: &TcpStream, mark: u32) -> Self {
        let mut this = Self::new(tcp, mark);
        this.left = first_step(this.mark);
        this.peer = Peer::Untried;
        this
    }

    /// From now on with this mark, which the kernel was [told](tell).
    pub(crate) fn follow(&mut self, mark: u32) {
        let mark = usize::try_from(mark).unwrap_or(usize::MAX);
        if self.mark != mark && self.mark != usize::MAX {
            self.mark = mark;
            self.step = mark.saturating_add(mark / 4).max(1);
            self.left = self.left.min(self.step);
        }
    }

    /// The mark of this moment.
    pub(crate) fn mark(&self) -> u32 {
        u32::try_from(self.mark).unwrap_or(u32::MAX)
    }

    /// No bound but the kernel's own.
    pub(crate) const fn unbounded() -> Self {
        Self { mark: usize::MAX, step: usize::MAX, left: usize::MAX, peer: Peer::Tried }
    }

    /// How much of `wanted` bytes may be handed over now. If they might be too much, the `kernel` is looked at first, and if it
    /// holds half of the mark, it must say that it can be written to.
    pub(crate) fn may(&mut self, wanted: usize, kernel: &impl Kernel) -> io::Result<usize> {
        if wanted > self.left {
            let sight = kernel.look();
            self.left = match self.peer.step(self.mark, sight.as_ref(), kernel)? {
                Some(step) => step,
                None => {
                    if sight.is_none_or(|sight| sight.unsent >= self.mark / 2) {
                        kernel.writable()?;
                    }
                    self.step.saturating_add(sight.map_or(0, |sight| sight.takes_at_once()))
                }
            };
        }
        Ok(wanted.min(self.left))
    }

    /// So many of them were handed over.
    pub(crate) fn handed(&mut self, bytes: usize) {
        if self.step < usize::MAX {
            self.left = self.left.saturating_sub(bytes);
        }
    }
}

impl Sight {
    /// Bytes that the kernel sends as soon as it has them. It does not part a segment that does not fit into the window, but
    /// waits for a larger one: so on one machine, whose segments are of 64 KiB.
    fn takes_at_once(&self) -> usize {
        let room = self.room.saturating_sub(self.unsent);
        (room - room % self.segment_sent.max(1)).min(BELIEVED)
    }
}

/// Tells the kernel a mark. Where it does not take it, it has a mark of its own, and is asked all the same.
pub(crate) fn tell(tcp: &TcpStream, mark: u32) {
    let _ = SockRef::from(tcp).set_tcp_notsent_lowat(mark);
}

/// Does poll(2) call it writable? Asking also makes the kernel say so later (`SOCK_NOSPACE`).
pub(crate) fn writable(socket: impl AsFd) -> io::Result<()> {
    let mut asked = [PollFd::new(&socket, PollFlags::OUT)];
    match poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// Asks for a send buffer, where it can be taken back.
pub(crate) fn send_buffer(tcp: &TcpStream, buffer: Buffer) -> io::Result<()> {
    // The kernel takes twice what is said.
    let fix = |bytes| SockRef::from(tcp).set_send_buffer_size(bytes / 2);
    match buffer {
        Buffer::Of(_) if receive::limits().is_none() => Err(io::ErrorKind::Unsupported.into()),
        Buffer::Of(bytes) => fix(bytes),
        Buffer::Largest => fix(i32::MAX as usize),
        Buffer::Tuned => buffer_lock::take_off(tcp, Side::Send),
    }
}

/// The first `most` bytes of `slices`, and in how many pieces.
pub(crate) fn first<'s>(slices: &'s [IoSlice<'s>], mut most: usize) -> ([IoSlice<'s>; PIECES], usize) {
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let mut count = 0;
    for (piece, slice) in pieces.iter_mut().zip(slices.iter().filter(|slice| !slice.is_empty())) {
        if most == 0 {
            break;
        }
        let some = slice.get(..most).unwrap_or(slice);
        most -= some.len();
        *piece = IoSlice::new(some);
        count += 1;
    }
    (pieces, count)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWrite};
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    use super::*;
    use crate::body::PaceSettings;
    use crate::socket::Socket;

    /// A kernel that says the same each time, and counts how often it was asked whether it can be written to.
    #[derive(Default)]
    struct Says {
        sight: Option<Sight>,
        blocks: bool,
        asked: Cell<u32>,
    }

    impl Says {
        fn sight(unsent: usize, room: usize) -> Self {
            let sight = Sight { unsent, room, segment_sent: 10, round_trip: 50_000, ..Sight::default() };
            Self { sight: Some(sight), ..Self::default() }
        }
    }

    impl Kernel for Says {
        fn look(&self) -> Option<Sight> {
            self.sight
        }

        fn writable(&self) -> io::Result<()> {
            self.asked.set(self.asked.get() + 1);
            if self.blocks { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        }

        fn send_buffer(&self, buffer: Buffer) -> io::Result<()> {
            panic!("{buffer:?} for a peer that is far away")
        }
    }

    #[test]
    fn who_hands_over_much_asks_before_each_step() {
        let mut unsent = Unsent { mark: 16, step: 20, left: 20, peer: Peer::Untried };
        let silent = Says::default();
        let mut handed = 0;
        while handed < 100 {
            let may = unsent.may(100 - handed, &silent).unwrap();
            handed += may;
            unsent.handed(may);
        }
        assert_eq!((silent.asked.get(), handed), (5, 100));
        // What the peer takes at once comes on top, in whole segments, without that which waits for it already.
        let may = |unsent: &mut Unsent, wanted, says: &Says| {
            let may = unsent.may(wanted, says).unwrap();
            assert_eq!(says.asked.get(), 0, "less than half of the mark is unsent");
            unsent.handed(may);
            may
        };
        assert_eq!(may(&mut unsent, 100, &Says::sight(7, 46)), 50);
        assert_eq!(may(&mut unsent, 100, &Says::sight(7, 16)), 20, "less than a segment");
        assert_eq!(may(&mut unsent, usize::MAX, &Says::sight(0, usize::MAX)), 20 + BELIEVED);
        let full = Says { blocks: true, ..Says::sight(8, 0) };
        assert_eq!(unsent.may(1, &full).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut free = Unsent::unbounded();
        free.handed(usize::MAX);
        assert_eq!(free.may(usize::MAX, &silent).unwrap(), usize::MAX);
        assert_eq!(silent.asked.get(), 5);
    }

    #[test]
    fn slices_are_cut_where_the_bytes_end() {
        let slices = [&b""[..], b"abc", b"", b"defg"].map(IoSlice::new);
        let cut = |most| {
            let (pieces, count) = first(&slices, most);
            pieces.iter().take(count).map(|piece| piece.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(cut(100), [&b"abc"[..], b"defg"]);
        assert_eq!(cut(5), [&b"abc"[..], b"de"]);
        assert_eq!(cut(3), [b"abc"]);
        assert_eq!(cut(2), [b"ab"]);
    }

    /// Bytes that the kernel has of the connection from this port, and that its peer's kernel has not.
    fn queued_at(port: u16) -> u64 {
        let end = format!("0100007F:{port:04X}");
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.into_iter().find(|words| words[1] == end && words[3] == "01").unwrap();
        u64::from_str_radix(line[4].split_once(':').unwrap().0, 16).unwrap()
    }

    #[tokio::test]
    async fn a_peer_that_stops_reading_costs_no_more_and_gets_everything() {
        const ALL: usize = 4 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(64 * 1024).unwrap();
        let mut client = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let unsent = Unsent::new(&tcp, 16 * 1024);
        let mut socket = Socket::paced(tcp, unsent, PaceSettings::default(), None);
        // In pieces as hyper and h2 have them: a head and much after it, or less.
        let write = async |socket: &mut Socket, bytes: &[u8]| {
            let mut written = 0;
            while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
                let (head, body) = rest.split_at(rest.len().min(9));
                let slices = [IoSlice::new(head), IoSlice::new(body.get(..65_536).unwrap_or(body))];
                written +=
                    poll_fn(|cx| Pin::new(&mut *socket).poll_write_vectored(cx, &slices)).await.unwrap();
            }
        };
        let sent: Vec<u8> = (0..ALL).map(|at| at as u8).collect();
        let mut writing = Box::pin(async {
            write(&mut socket, &sent).await;
            socket
        });
        // Until it does not go on.
        let waited = timeout(Duration::from_millis(200), writing.as_mut()).await;
        assert!(waited.is_err(), "the peer reads nothing");
        // What was sent and dropped for lack of room is sent again when the peer makes some.
        let mut received = vec![0; 1];
        client.read_exact(&mut received).await.unwrap();
        let ours = client.peer_addr().unwrap();
        // What was sent is counted until it is acknowledged, which a busy peer does when it comes to it.
        let mut held = u64::MAX;
        for _ in 0..100 {
            let _ = timeout(Duration::from_millis(50), writing.as_mut()).await;
            held = queued_at(ours.port());
            if held <= 28 * 1024 {
                break;
            }
        }
        assert!(held <= 28 * 1024, "{held} bytes");
        let reading = async {
            let mut rest = vec![0; ALL - 1];
            client.read_exact(&mut rest).await.unwrap();
            rest
        };
        let (_socket, rest) = tokio::join!(writing, reading);
        received.extend(rest);
        assert!(received == sent);
    }
}
