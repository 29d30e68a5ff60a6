//! Small pieces of uploads that nobody reads, with much else between them: each keeps the buffer that it was read into.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, flag, kind};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::stand::{MOST, Stand, mib};

const CONNECTIONS: usize = 40;
const STREAMS: u32 = 6;
/// Bytes of a DATA frame; as much as a frame must have for h2 to count it as none of those that are too small.
const CRUMB: i64 = 256;
/// A frame of a kind that nobody knows, which is to be ignored (RFC 9113 §4.1): together with a crumb it fills a buffer.
const OTHER: (u8, usize) = (0x20, 7_900);

/// An origin that reads nothing, and for which the kernel takes next to nothing.
async fn deaf() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener: TcpListener = socket.listen(1024).unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut open: Vec<TcpStream> = Vec::new();
        while let Ok((tcp, _)) = listener.accept().await {
            open.push(tcp);
        }
    });
    (address, serving)
}

/// Sends crumbs on all streams as long as there is credit, and then nothing. How many were sent.
async fn crumble(wire: &mut Wire) -> usize {
    let mut bytes = PREFACE.to_vec();
    bytes.extend([Frame::settings(&[])]);
    let mut streams: BTreeMap<u32, i64> = (0..STREAMS).map(|index| (2 * index + 1, 16_384)).collect();
    for stream in streams.keys() {
        let head = Block::request("POST", "/").bytes();
        bytes.extend([Frame::headers(*stream, flag::END_HEADERS, head)]);
    }
    let (mut connection, mut sent) = (65_535i64, 0);
    loop {
        for (stream, credit) in &mut streams {
            if *credit >= CRUMB && connection >= CRUMB {
                (*credit, connection, sent) = (*credit - CRUMB, connection - CRUMB, sent + 1);
                bytes.extend([
                    Frame::data(*stream, 0, vec![b'c'; CRUMB as usize]),
                    Frame::new(OTHER.0, 0, 0, vec![0; OTHER.1]),
                ]);
            }
        }
        if !bytes.is_empty() {
            // A gate that has had enough closes.
            if wire.send(&std::mem::take(&mut bytes)).await.is_err() {
                return sent;
            }
            continue;
        }
        match timeout(Duration::from_millis(500), wire.next()).await {
            Err(_) | Ok(Err(_) | Ok(None)) => return sent,
            Ok(Ok(Some(frame))) => {
                let number = i64::from(frame.number(0).unwrap_or(0));
                match (frame.kind, streams.get_mut(&frame.stream)) {
                    (kind::WINDOW_UPDATE, None) => connection += number,
                    (kind::WINDOW_UPDATE, Some(credit)) => *credit += number,
                    (kind::SETTINGS, _) if !frame.has(flag::ACK) => bytes.extend([Frame::settings_ack()]),
                    _ => {}
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crumbs_do_not_keep_the_buffers_that_they_came_in() {
    let (origin, _serving) = deaf().await;
    let stand = Stand::before(origin, &["--max-wait", "60s", "--client-timeout", "10m"]).await;
    let before = (stand.resident(), stand.charged().await);
    let mut crumbling = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let address = stand.address;
        crumbling.spawn(async move {
            let mut wire = Wire::connect(address).await.unwrap();
            (crumble(&mut wire).await, wire)
        });
    }
    let done = crumbling.join_all().await;
    let (resident, charged) = (stand.resident(), stand.charged().await);
    let (grown, charged) = (resident.saturating_sub(before.0), charged.saturating_sub(before.1));
    let frames: usize = done.iter().map(|(sent, _)| sent).sum();
    println!("{frames} frames: {} MiB more, {} MiB charged", mib(grown), mib(charged));
    assert!(resident <= MOST, "{} MiB", mib(resident));
    assert!(grown <= charged, "{} MiB more, and {} MiB are charged", mib(grown), mib(charged));
    assert!(frames >= CONNECTIONS * 100, "{frames}");
    drop(done);
    stand.is_left().await;
    stand.is_even(before.1).await;
}
