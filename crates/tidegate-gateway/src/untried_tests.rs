use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::body::PaceSettings;
use crate::receive;
use crate::sight;
use crate::socket::Socket;
use crate::unsent::Unsent;

/// A kernel that holds so many unacknowledged bytes, and counts what it was asked.
#[derive(Default)]
struct Fake {
    sight: Cell<Sight>,
    writable: Cell<bool>,
    refuses: bool,
    buffers: RefCell<Vec<Buffer>>,
}

impl Kernel for Fake {
    fn look(&self) -> Option<Sight> {
        Some(self.sight.get())
    }

    fn writable(&self) -> io::Result<()> {
        if self.writable.get() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn send_buffer(&self, buffer: Buffer) -> io::Result<()> {
        self.buffers.borrow_mut().push(buffer);
        if self.refuses { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }
}

impl Fake {
    fn step(&self, peer: &mut Peer, unacknowledged: u64, reach: u64) -> Option<Option<usize>> {
        self.sight.set(Sight { unacknowledged, reach, ..Sight::default() });
        peer.step(16, Some(&self.sight.get()), self).ok()
    }

    fn asked(&self) -> Vec<Buffer> {
        self.buffers.take()
    }
}

#[test]
fn two_steps_are_on_the_way_until_the_window_ends_far_away() {
    let (kernel, mut peer) = (Fake::default(), Peer::Untried);
    assert_eq!(kernel.step(&mut peer, 12, 0), Some(Some(12)));
    assert_eq!(kernel.asked(), []);
    assert_eq!(kernel.step(&mut peer, 13, 0), None);
    assert_eq!(kernel.step(&mut peer, 13, 0), None);
    assert_eq!(kernel.asked(), [Buffer::Of(24)], "once for each wait");
    kernel.writable.set(true);
    assert_eq!(kernel.step(&mut peer, 13, 0), Some(Some(12)), "the kernel says so, who knows better");
    assert_eq!(kernel.asked(), [Buffer::Largest]);
    assert_eq!(kernel.step(&mut peer, 12, 24), Some(Some(12)));
    assert_eq!(kernel.asked(), []);
    assert_eq!(kernel.step(&mut peer, 100_000, REACHES), Some(None));
    assert_eq!(kernel.asked(), [Buffer::Tuned]);
    kernel.writable.set(false);
    assert_eq!(kernel.step(&mut peer, 100_000, 0), Some(None), "once and for all");
    assert_eq!(kernel.asked(), []);
}

#[test]
fn who_is_far_away_or_cannot_be_bounded_is_not() {
    let far = Sight { unacknowledged: 100_000, round_trip: NEAR + 1, ..Sight::default() };
    let unknown = Sight { round_trip: UNKNOWN, ..far };
    for (sight, asked, then) in
        [(Some(far), 0, Peer::Untried), (None, 0, Peer::Tried), (Some(unknown), 1, Peer::Tried)]
    {
        let kernel = Fake { refuses: true, ..Fake::default() };
        let mut peer = Peer::Untried;
        assert_eq!(peer.step(16, sight.as_ref(), &kernel).unwrap(), None);
        assert_eq!((kernel.asked().len(), peer), (asked, then));
    }
    // It turns out to be far while it is waited for, and to be near after all.
    let (kernel, mut peer) = (Fake::default(), Peer::Untried);
    let near = Sight { round_trip: NEAR, ..far };
    assert!(peer.step(16, Some(&unknown), &kernel).is_err());
    assert_eq!(peer.step(16, Some(&far), &kernel).unwrap(), None);
    assert_eq!(kernel.asked(), [Buffer::Of(24), Buffer::Largest, Buffer::Tuned]);
    assert!(peer.step(16, Some(&near), &kernel).is_err());
    assert_eq!(kernel.asked(), [Buffer::Of(24)]);
}

#[test]
fn who_may_be_handed_anything_may_be_handed_something() {
    assert_eq!([0, 3, 4, 16 * 1024].map(first_step), [1, 1, 3, 12 * 1024]);
}

/// Both ends of a connection. The kernel of a busy machine may take its time even on the way to itself.
async fn near_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    loop {
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        if sight::look(&tcp).unwrap().round_trip <= NEAR {
            return (client, tcp);
        }
    }
}

async fn write(socket: &mut Socket, bytes: &[u8], mut written: impl FnMut(&TcpStream)) {
    let mut rest = bytes;
    while !rest.is_empty() {
        // As a chunk of HTTP/1 or a frame of HTTP/2 is written.
        let piece = rest.get(..16_384).unwrap_or(rest);
        let some = poll_fn(|cx| Pin::new(&mut *socket).poll_write(cx, piece)).await.unwrap();
        socket.with_tcp(&mut written);
        rest = &rest[some..];
    }
}

#[tokio::test]
async fn the_kernel_never_holds_more_than_32_kib_for_who_has_read_nothing_and_then_what_it_likes() {
    const ALL: usize = 4 << 20;
    const TUNED: usize = 64 * 1024;
    let (mut client, tcp) = near_pair().await;
    let unsent = Unsent::untried(&tcp, 16 * 1024);
    let mut socket = Socket::paced(tcp, unsent, PaceSettings::default(), None);
    let sent: Vec<u8> = (0..ALL).map(|at| (at / 7) as u8).collect();
    let (most, count) = (Cell::new(0), Cell::new(0));
    let mut writing = pin!(async {
        write(&mut socket, &sent, |tcp| {
            let (_, held) = receive::held(tcp).unwrap();
            most.set(held.max(most.get()));
            count.set(count.get() + 1);
        })
        .await;
        socket
    });
    // It goes on until the peer's kernel takes no more, whatever that takes on a busy machine.
    let mut before = 0;
    while timeout(Duration::from_millis(400), writing.as_mut()).await.is_err() && count.get() != before {
        before = count.get();
    }
    assert!(count.get() >= 5, "{} writes", count.get());
    assert!(most.get() <= 32 * 1024, "{} bytes were held", most.get());
    let reading = async {
        let mut all = vec![0; ALL];
        client.read_exact(&mut all).await.unwrap();
        all
    };
    let (socket, all) = tokio::join!(writing, reading);
    assert!(all == sent);
    socket.with_tcp(|tcp| {
        let size = socket2::SockRef::from(tcp).send_buffer_size().unwrap();
        assert!(size >= TUNED, "the kernel finds it again: {size}");
    });
}
