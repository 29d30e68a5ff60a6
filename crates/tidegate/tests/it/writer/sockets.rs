//! Real sockets: the kernel's part is bounded and counted, and an unfinished connection is reset.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tidegate::writer::{Progress, Socket, WriteError, Writer, Writers, bound_kernel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

/// Writes until nothing goes any more; what was held at most, and what was accepted.
async fn flood(writer: &mut Writer<impl Socket>, step: usize) -> (u64, u64) {
    let (mut most, mut accepted) = (0, 0);
    while let Ok(room) = timeout(Duration::from_millis(300), writer.ready()).await {
        room.unwrap().write(vec![7; step]).unwrap().later();
        accepted += step as u64;
        most = most.max(writer.pending());
    }
    (most, accepted)
}

#[tokio::test]
async fn what_the_kernel_has_not_sent_counts_towards_the_bound() {
    for (max, step) in [(16 << 10, 300), (16 << 10, 8 << 10), (64 << 10, 5000), (1 << 20, 300_000)] {
        let (stream, mut peer) = tcp().await;
        let mut writer = Writers::new().max_bytes(max).socket(stream);
        assert!(writer.counts_kernel());
        let (most, accepted) = flood(&mut writer, step).await;
        assert!(most <= max, "{most} of {max}");
        assert!(writer.pending() > max / 2, "it stopped for want of room: {}", writer.pending());
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.map(|_| all.len() as u64)
        });
        // And it goes on when the peer reads.
        writer.ready().await.unwrap().write("x").unwrap().flushed().await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), accepted + 1);
    }
}

#[tokio::test]
async fn a_unix_sockets_memory_counts_too() {
    let (stream, mut peer) = UnixStream::pair().unwrap();
    let mut writer = Writers::new().max_bytes(32 << 10).socket(stream);
    assert!(writer.counts_kernel());
    let (_, accepted) = flood(&mut writer, 4000).await;
    assert!(accepted <= 32 << 10, "{accepted}");
    assert!(writer.pending() > 16 << 10, "{}", writer.pending());
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.map(|_| all.len() as u64)
    });
    writer.send("x").await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), accepted + 1);
}

async fn end_of(mut peer: impl AsyncReadExt + Unpin) -> (usize, io::Result<usize>) {
    let mut all = Vec::new();
    let end = peer.read_to_end(&mut all).await;
    (all.len(), end)
}

#[tokio::test]
async fn dropped_unfinished_it_resets_the_connection() {
    let writers = Writers::new();
    let (stream, peer) = tcp().await;
    let mut writer = writers.socket(stream);
    writer.send("half of what there was to s").await.unwrap();
    drop(writer);
    let (_, end) = end_of(peer).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(writers.stats().aborted, 1);
}

#[tokio::test]
async fn a_write_half_resets_it_while_the_read_half_lives() {
    let (stream, peer) = tcp().await;
    let (mut reading, writing) = stream.into_split();
    let mut writer = Writer::socket(writing);
    writer.send("half").await.unwrap();
    drop(writer);
    let (_, end) = end_of(peer).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    // And the read half does not hang.
    let heard = timeout(Duration::from_secs(10), reading.read(&mut [0; 10])).await.unwrap();
    assert!(matches!(heard, Ok(0) | Err(_)), "{heard:?}");
}

#[tokio::test]
async fn finished_it_ends_in_order() {
    let (stream, mut peer) = tcp().await;
    let (mut reading, writing) = stream.into_split();
    let mut writer = Writer::socket(writing);
    writer.send("the whole").await.unwrap();
    let half = writer.finish().await.unwrap();
    let mut all = String::new();
    peer.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "the whole");
    // The other direction goes on.
    peer.write_all(b"thanks").await.unwrap();
    drop(peer);
    let mut answer = String::new();
    reading.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "thanks");
    drop(half);
}

#[tokio::test]
async fn a_peer_that_is_too_slow_is_reset_and_its_kernel_memory_freed() {
    let writers = Writers::new().progress(Progress::default().longest_stall(Duration::from_millis(200)));
    let (stream, peer) = tcp().await;
    let mut writer = writers.socket(stream);
    let slow = loop {
        if let Err(error) = writer.send(vec![0; 30_000]).await {
            break error;
        }
    };
    assert!(matches!(slow, WriteError::TooSlow(_)), "{slow:?}");
    assert_eq!(writer.pending(), 0);
    let (_, end) = end_of(peer).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(writers.stats().too_slow, 1);
}

#[tokio::test]
async fn a_peer_that_reads_steadily_is_never_too_slow() {
    // The kernel says "writable" when half of the bound is gone: at this pace, after more than the longest stall.
    let progress = Progress::default().longest_stall(Duration::from_secs(1)).least_rate(0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    let mut peer = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let stream = listener.accept().await.unwrap().0;
    let mut writer = Writers::new().max_bytes(256 << 10).progress(progress).socket(stream);
    let reading = tokio::spawn(async move {
        let (mut some, mut all) = (vec![0; 10_000], 0);
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            match peer.read(&mut some).await.unwrap() {
                0 => return all,
                read => all += read,
            }
        }
    });
    let mut all = Bytes::from(vec![0; 400_000]);
    writer.send_all(&mut all).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(reading.await.unwrap(), 400_000);
}

#[tokio::test]
async fn the_kernel_can_be_bounded_below_something_else() {
    let (stream, _peer) = tcp().await;
    bound_kernel(&stream, 16 << 10).unwrap();
    let mut written = 0;
    while let Ok(some) = stream.try_write(&[0; 4096]) {
        written += some;
    }
    // The peer's receive buffer takes the most of it; without the bound the kernel takes megabytes more.
    let unsent = Writer::socket(stream).pending();
    assert!(unsent <= 128 << 10, "{unsent} of {written}");
}
