//! What waits unwritten of large uploads towards an HTTP/1 origin that stops reading: it is charged, and comes back.

use std::time::Duration;

use bytes::Bytes;
use tidegate_gateway::memory::Holder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::{JoinHandle, JoinSet};

use crate::script::Script;
use crate::stand::{Stand, eventually};
use crate::wire::Wire;
use crate::wire2::{Wire2, post2, whole};

const WORDS: &str = "memory = '64MiB'\nlimit = 200\nmax-wait = '10m'\nclient-timeout = '1h'\n\
                     head-timeout = '10m'\nstall-timeout = '5m'";
/// What an upload takes that flows freely: a 512th of the memory unwritten, and seven eighths of that in the kernel.
const FLOWS: f64 = 240.0 * 1024.0;
/// What one takes whose first 64 KiB have flowed, and of which as much may wait unwritten.
const FIRST: f64 = 64.0 * 1024.0;
/// What hyper's buffer takes on the client's side once an upload that flowed freely has ended, until its connection is idle.
const BUFFER: f64 = 64.0 * 1024.0;
/// What origins take before they stop: more than the first MiB, after which an upload may flow freely.
const TAKEN: usize = 3 << 19;
/// What clients want to send: far more than what may wait on the way.
const SIZE: usize = 16 << 20;
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn charged(stand: &Stand) -> f64 {
    stand.metric("tidegate_memory_charged_bytes")
}

/// What is charged and belongs to no connection of a client.
fn apart(stand: &Stand) -> f64 {
    let top: Vec<Holder> = stand.gateway.status().memory.unwrap().top;
    charged(stand) - top.iter().map(|holder| holder.bytes as f64).sum::<f64>()
}

fn fits(stand: &Stand) {
    let (peak, limit) = ("tidegate_memory_charged_peak_bytes", "tidegate_memory_limit_bytes");
    assert!(stand.metric(peak) <= stand.metric(limit));
}

/// An upload over HTTP/1: true if it was answered. Its end is a reset: the end of a connection would come behind what waits in
/// the client's own kernel, and the gate could not see it.
fn upload1(stand: &Stand, size: usize) -> JoinHandle<bool> {
    let address = stand.address;
    tokio::spawn(async move {
        let mut wire = Wire::connect(address).await;
        socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
        let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        let (mut read, mut write) = wire.stream.split();
        let body = vec![b'x'; size];
        let mut answer = [0; 12];
        let sending = async {
            let _ = write.write_all(head.as_bytes()).await;
            let _ = write.write_all(&body).await;
        };
        let (read, ()) = tokio::join!(read.read_exact(&mut answer), sending);
        read.is_ok() && answer == *b"HTTP/1.1 200"
    })
}

/// The same in HTTP/2, so many at once on a connection: true if all of them were answered.
fn upload2(stand: &Stand, size: usize, streams: usize) -> JoinHandle<bool> {
    let address = stand.address;
    tokio::spawn(async move {
        let mut client = Wire2::connect(address).await;
        let mut sending = JoinSet::new();
        for _ in 0..streams {
            let (answer, mut stream) = client.begin(post2("/up").body(()).unwrap(), false).await;
            sending.spawn(async move {
                let mut left = size;
                while left > 0 {
                    stream.reserve_capacity(left.min(100_000));
                    let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
                        return false;
                    };
                    let some = room.min(left);
                    left -= some;
                    if stream.send_data(Bytes::from(vec![0; some]), left == 0).is_err() {
                        return false;
                    }
                }
                whole(answer).await.is_ok_and(|answer| answer.head.status == 200)
            });
        }
        sending.join_all().await.into_iter().all(|served| served)
    })
}

/// An origin whose kernel takes little more than what it reads.
fn origin() -> Script {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    Script::on(socket.listen(1024).unwrap())
}

/// Takes a request and so much of its body. (Over HTTP/2 it comes chunked: a few bytes more or less do not matter.)
async fn taken(script: &Script, size: usize) -> Wire {
    let mut wire = script.accept().await;
    wire.request_head().await;
    assert_eq!(wire.bytes(size).await.len(), size);
    wire
}

/// Each of so many uploads is stopped after [`TAKEN`] bytes. One after the other, so that each goes on beside streams of its
/// client that nobody reads, whatever these hold since memory was plenty.
async fn stopped(script: &Script, count: usize) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..count {
        wires.push(taken(script, TAKEN).await);
    }
    wires
}

/// Until so much waits for the origin at least, and what is charged does not change any more.
async fn settled(stand: &Stand, least: f64) {
    eventually("uploads flow freely", || apart(stand) >= least).await;
    let mut last = (0.0, 0);
    eventually("nothing moves any more", || {
        let now = charged(stand);
        last = (now, if now == last.0 { last.1 + 1 } else { 0 });
        last.1 > 60
    })
    .await;
}

async fn all_is_back(stand: &Stand, rest: f64) {
    eventually("all of it is back", || charged(stand) == rest && stand.in_flight() == 0).await;
    fits(stand);
}

/// Twenty uploads of HTTP/1 and twenty of HTTP/2 that the origin takes no more of, and never will.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_that_an_origin_stops_reading_fit_and_come_back_when_their_clients_leave() {
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let rest = charged(&stand);
    let mut clients: Vec<_> = (0..20).map(|_| upload1(&stand, SIZE)).collect();
    clients.extend((0..10).map(|_| upload2(&stand, SIZE, 2)));
    let held = stopped(&script, 40).await;
    settled(&stand, 20.0 * FLOWS).await;
    fits(&stand);
    assert!(apart(&stand) >= 20.0 * FLOWS, "few of them flow freely: {}", apart(&stand));
    // Another client is served meanwhile.
    let other = upload1(&stand, 1000);
    let mut wire = taken(&script, 1000).await;
    wire.send(ANSWER).await;
    assert!(other.await.unwrap());
    drop(wire);
    for client in &clients {
        client.abort();
    }
    all_is_back(&stand, rest).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_an_origin_stops_reading_end_by_the_clock() {
    let script = origin();
    let stand = Stand::facing(&script, &format!("{WORDS}\norigin-timeout = '10s'")).await;
    let rest = charged(&stand);
    let clients = [upload1(&stand, SIZE), upload1(&stand, SIZE), upload2(&stand, SIZE, 2)];
    // All at once: none stands still before.
    let (a, b) = (taken(&script, TAKEN), taken(&script, TAKEN));
    let (c, d) = (taken(&script, TAKEN), taken(&script, TAKEN));
    let held = tokio::join!(a, b, c, d);
    eventually("the clock has ended them", || stand.in_flight() == 0).await;
    // What is left of them is their clients' own.
    eventually("nothing waits for the origin", || apart(&stand) == rest).await;
    for client in clients {
        client.abort();
    }
    all_is_back(&stand, rest).await;
    drop(held);
}

/// The origin resets in the middle: with a linger of zero that is what a close is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_for_an_origin_that_resets_comes_back() {
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let rest = charged(&stand);
    let clients = [upload1(&stand, SIZE), upload2(&stand, SIZE, 3)];
    let held = stopped(&script, 4).await;
    settled(&stand, rest + 4.0 * FLOWS).await;
    assert!(apart(&stand) >= rest + 4.0 * FLOWS, "{}", apart(&stand) - rest);
    for wire in held {
        socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    eventually("nothing waits for the origin", || apart(&stand) == rest && stand.in_flight() == 0).await;
    for client in clients {
        client.abort();
    }
    all_is_back(&stand, rest).await;
}

/// A client of HTTP/1 resets its connection in the middle, and one of HTTP/2 a stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_that_resets_has_sent_comes_back() {
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let rest = charged(&stand);
    let mut wire = Wire::connect(stand.address).await;
    socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
    let one = tokio::spawn(async move {
        let _ =
            wire.stream.write_all(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n").await;
        let _ = wire.stream.write_all(&vec![b'x'; SIZE]).await;
    });
    let first = taken(&script, TAKEN).await;
    let mut client = Wire2::connect(stand.address).await;
    let (answer, mut stream) = client.begin(post2("/up").body(()).unwrap(), false).await;
    stream.send_data(Bytes::from(vec![0; SIZE]), false).unwrap();
    let second = taken(&script, TAKEN).await;
    settled(&stand, rest + 2.0 * FLOWS).await;
    assert!(apart(&stand) >= rest + 2.0 * FLOWS, "{}", apart(&stand) - rest);
    one.abort();
    stream.send_reset(h2::Reason::CANCEL);
    eventually("nothing waits for the origin", || apart(&stand) == rest && stand.in_flight() == 0).await;
    drop((stream, answer, client));
    all_is_back(&stand, rest).await;
    drop((first, second));
}

/// All of an upload has come, and its end waits unwritten: it is charged until the origin takes it. Then the connection is
/// kept, and costs what others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_written_stays_charged_and_a_kept_connection_gives_it_back() {
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let rest = charged(&stand);
    // The end of the body is with the gate in a moment: it takes more than what is left, unwritten and in the kernels.
    const WHOLE: usize = TAKEN + 64 * 1024;
    let client = upload1(&stand, WHOLE);
    let mut held = taken(&script, TAKEN).await;
    settled(&stand, rest + FLOWS).await;
    assert!(apart(&stand) >= rest + FLOWS, "{}", apart(&stand) - rest);
    assert_eq!(held.bytes(WHOLE - TAKEN).await.len(), WHOLE - TAKEN);
    held.send(ANSWER).await;
    assert!(client.await.unwrap());
    all_is_back(&stand, rest).await;
    eventually("it is kept", || stand.metric("tidegate_origin_connections_idle") == 1.0).await;
    // The next one goes over it, and may flow freely as well.
    let client = upload1(&stand, SIZE);
    held.request_head().await;
    assert_eq!(held.bytes(TAKEN).await.len(), TAKEN);
    settled(&stand, rest + FLOWS).await;
    assert!(apart(&stand) >= rest + FLOWS, "{}", apart(&stand) - rest);
    client.abort();
    all_is_back(&stand, rest).await;
}

/// The same of one that is too short to flow freely, where what waits is paid for by the 64 KiB of its own: they come back when
/// it is written, and do not wait for the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_of_a_shorter_upload_is_charged_until_it_is_written() {
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let rest = charged(&stand);
    let mut taken = vec![0; 256 * 1024];
    // How much the kernels take differs. With too little nothing waits; with too much the body has not ended, and its other
    // side is charged as well.
    for more in (40..=96).step_by(8).map(|kib| kib * 1024) {
        let client = upload1(&stand, taken.len() + more);
        let mut held = script.accept().await;
        // Not a byte more, the head among them.
        held.stream.read_exact(&mut taken).await.unwrap();
        settled(&stand, 0.0).await;
        if apart(&stand) == rest + FIRST + BUFFER {
            assert!(held.bytes(more).await.len() >= more);
            eventually("it is written", || apart(&stand) == rest + BUFFER).await;
            assert!(!client.is_finished(), "it has no answer yet");
            held.send(ANSWER).await;
            assert!(client.await.unwrap());
            return all_is_back(&stand, rest).await;
        }
        client.abort();
        drop(held);
        all_is_back(&stand, rest).await;
    }
    panic!("what waits of a body that has ended is not charged");
}
