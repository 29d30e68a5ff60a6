//! Large frames towards a reader that does not read are split, never held whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tidegate_lab::frames::{Frame, flag, kind, setting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::peer::{Peer, get};
use crate::kernel::queued;
use crate::stand::{Stand, bounded, eventually};
use crate::wire2::Wire2;

const CHUNK: usize = 8 << 20;
/// Nobody is given up for standing still, however long it takes to see that all does.
const WORDS: &str = "limit = 2\nstall-timeout = '1h'";
/// What the gate may hold of it.
const HELD: u64 = 64 * 1024;
/// The same towards an HTTP/1 client, which is alone on its connection: larger reads, and hyper's own buffer.
const HELD1: u64 = 256 * 1024;

/// An origin that answers with one chunk of 8 MiB, and counts what the system took of it.
struct Giant {
    address: SocketAddr,
    written: Arc<AtomicU64>,
}

impl Giant {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(tcp, Arc::clone(&count)));
            }
        });
        Self { address, written }
    }

    /// Bytes that the gate has taken from the system.
    fn read(&self) -> u64 {
        self.written.load(SeqCst).saturating_sub(queued(&[self.address.port()]))
    }
}

async fn answer(mut tcp: TcpStream, written: Arc<AtomicU64>) {
    let _ = tcp.read(&mut [0; 4096]).await;
    let mut chunk =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNK:x}\r\n").into_bytes();
    chunk.resize(chunk.len() + CHUNK, b'c');
    chunk.extend_from_slice(b"\r\n0\r\n\r\n");
    let mut left = &chunk[..];
    while let Ok(some @ 1..) = tcp.write(left).await {
        written.fetch_add(some as u64, SeqCst);
        left = &left[some..];
    }
    let _ = tcp.read(&mut [0; 4096]).await;
}

/// What the gate holds when nothing moves any more.
async fn settled(mut held: impl FnMut() -> u64) -> u64 {
    let (mut last, mut same) = (u64::MAX, 0);
    bounded("all stands still", async {
        while same < 6 {
            sleep(Duration::from_millis(50)).await;
            let now = held();
            same = if now == last && now > 0 { same + 1 } else { 0 };
            last = now;
        }
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_without_credit_leaves_the_chunk_at_the_origin() {
    for window in [0, 1, 20_000] {
        let giant = Giant::start().await;
        let stand = Stand::facing(format!("http://{}", giant.address), WORDS).await;
        let mut peer = Peer::open(&stand, &[(setting::INITIAL_WINDOW_SIZE, window)]).await;
        peer.frames([get(1, "/")]).await;
        let held = settled(|| giant.read()).await;
        assert!(held <= HELD + u64::from(window), "{held} bytes are held with a window of {window}");
        // And all of it comes when it may, in frames that the peer takes.
        peer.frames([Frame::window_update(1, CHUNK as u32), Frame::window_update(0, CHUNK as u32)]).await;
        assert!(peer.until(|came| super::peer::ended(came, 1)).await);
        let largest = peer.data(1).iter().map(|data| data.len()).max();
        assert!(largest <= Some(16_384));
        assert_eq!(peer.data(1).iter().map(|data| data.len()).sum::<usize>(), CHUNK);
        assert!(peer.came.iter().any(|f| f.kind == kind::DATA && f.has(flag::END_STREAM)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_with_credit_that_does_not_read_leaves_it_there_too() {
    let giant = Giant::start().await;
    let stand = Stand::facing(format!("http://{}", giant.address), WORDS).await;
    // HTTP/2 with all the credit there is, and HTTP/1.
    for http2 in [true, false] {
        let before = giant.written.load(SeqCst);
        let _peer: Box<dyn std::any::Any> = if http2 {
            let most = (1 << 31) - 1;
            let mut peer = Peer::open(&stand, &[(setting::INITIAL_WINDOW_SIZE, most)]).await;
            peer.frames([Frame::window_update(0, most - 65_535), get(1, "/")]).await;
            Box::new(peer)
        } else {
            let mut wire = stand.connect().await;
            wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            Box::new(wire)
        };
        eventually("it is asked for", || giant.written.load(SeqCst) > before).await;
        let client = stand.address.port();
        let held = settled(|| {
            let written = giant.written.load(SeqCst);
            written.saturating_sub(before + queued(&[giant.address.port(), client]))
        })
        .await;
        let most = if http2 { HELD } else { HELD1 };
        assert!(held <= most, "{held} bytes are held (HTTP/2: {http2})");
        drop(_peer);
        eventually("it is given up", || queued(&[client]) == 0 && stand.in_flight() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giant_upload_is_not_held_whole_either() {
    // An origin that reads the head and no more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.read(&mut [0; 200]).await;
            all.push(tcp);
        }
    });
    let stand = Stand::facing(format!("http://{origin}"), WORDS).await;
    let mut client = Wire2::connect(stand.address).await;
    let (_answer, mut stream) = client.begin(crate::wire2::post2("/").body(()).unwrap(), false).await;
    let mut sent = 0u64;
    stream.reserve_capacity(CHUNK);
    // As much as there is credit for, until none comes.
    while let Ok(Some(Ok(credit))) =
        tokio::time::timeout(Duration::from_millis(500), std::future::poll_fn(|cx| stream.poll_capacity(cx)))
            .await
    {
        let some = credit.min(CHUNK - sent as usize);
        stream.send_data(vec![b'u'; some].into(), false).unwrap();
        sent += some as u64;
        stream.reserve_capacity(CHUNK);
        assert!((sent as usize) < CHUNK, "the whole chunk was taken");
    }
    let port = origin.port();
    let held = settled(|| sent.saturating_sub(queued(&[port]))).await;
    // The windows have grown with what the origin's kernel took of it; they are charged for.
    assert!(held <= CHUNK as u64 / 16, "{held} bytes are held");
}
