//! What the kernel receives of HTTP/1 clients ahead of who reads: bounded, charged, and no hindrance to who is read.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_gateway::memory::Holder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::kernel::received;
use crate::script::Script;
use crate::stand::{Stand, bounded, eventually, get};
use crate::wire::Wire;

const WORDS: &str = "memory = '64MiB'\nlimit = 200\nmax-wait = '10m'\nclient-timeout = '1h'\n\
                     head-timeout = '10m'\nstall-timeout = '5m'";
const KIB: f64 = 1024.0;
/// What the kernel may hold of a connection at its begin, and what it takes beside that.
const RECEIVED: f64 = 80.0 * KIB;
const IDLE: f64 = 16.0 * KIB;
const REQUEST: f64 = 84.0 * KIB;
const TUNNEL: f64 = 204.0 * KIB;
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// More than takes any of the kernels on the way.
const SIZE: usize = 2 << 20;

fn charged(stand: &Stand) -> f64 {
    stand.metric("tidegate_memory_charged_bytes")
}

/// Bytes that the kernel holds for the gateway's connections and that the gateway has not read, by the port of the client: as
/// the kernel tells them, without what it takes beside them.
fn ahead(stand: &Stand) -> BTreeMap<u16, f64> {
    received(stand.address.port()).into_iter().map(|(from, bytes)| (from.port(), bytes as f64)).collect()
}

/// What those clients are charged for who hold most.
fn holders(stand: &Stand) -> BTreeMap<u16, f64> {
    let top: Vec<Holder> = stand.gateway.status().memory.unwrap().top;
    top.iter().map(|holder| (holder.peer.port(), holder.bytes as f64)).collect()
}

/// What the only client is charged for.
fn only(stand: &Stand) -> f64 {
    holders(stand).values().copied().sum()
}

/// Until something of each of so many waits unread, and nothing moves any more for a moment.
async fn settled(stand: &Stand, many: usize) -> BTreeMap<u16, f64> {
    let mut last = BTreeMap::new();
    let mut same = 0;
    bounded("nothing moves any more", async {
        while same < 4 {
            sleep(Duration::from_millis(50)).await;
            let now = ahead(stand);
            let all = now.len() == many && now.values().all(|bytes| *bytes > 0.0);
            same = if all && now == last { same + 1 } else { 0 };
            last = now;
        }
    })
    .await;
    last
}

/// An origin whose kernel takes little more than what it reads.
fn origin() -> Script {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    Script::on(socket.listen(1024).unwrap())
}

/// An upload: true if it was answered.
fn upload(stand: &Stand, size: usize) -> JoinHandle<bool> {
    let address = stand.address;
    tokio::spawn(async move {
        let mut wire = Wire::connect(address).await;
        sends(&mut wire, size).await;
        let mut answer = [0; 12];
        wire.stream.read_exact(&mut answer).await.is_ok() && answer == *b"HTTP/1.1 200"
    })
}

async fn sends(wire: &mut Wire, size: usize) {
    let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
    let _ = wire.stream.write_all(head.as_bytes()).await;
    let _ = wire.stream.write_all(&vec![b'x'; size]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_nobody_reads_are_charged_for_what_the_kernel_has_of_them() {
    const MANY: usize = 20;
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let rest = charged(&stand);
    let clients: Vec<_> = (0..MANY).map(|_| upload(&stand, SIZE)).collect();
    let mut held = Vec::new();
    for _ in 0..MANY {
        let mut wire = script.accept().await;
        wire.request_head().await;
        held.push(wire);
    }
    let ahead = settled(&stand, MANY).await;
    let (all, sum) = (charged(&stand), ahead.values().sum::<f64>());
    assert!(sum > 0.0 && all - rest >= sum + MANY as f64 * (IDLE + REQUEST), "{all} for {sum}");
    for (client, held) in holders(&stand) {
        let most = IDLE + REQUEST + f64::max(RECEIVED, ahead[&client]);
        assert!(held >= most, "{held} for {} bytes", ahead[&client]);
    }
    assert!(stand.metric("tidegate_memory_charged_peak_bytes") <= 64.0 * KIB * KIB);
    let reading = held.into_iter().map(|mut wire| {
        tokio::spawn(async move {
            assert_eq!(wire.bytes(SIZE).await.len(), SIZE);
            wire.send(ANSWER).await;
            wire
        })
    });
    let reading: Vec<_> = reading.collect();
    for client in clients {
        assert!(client.await.unwrap(), "all of them come to their end");
    }
    for read in reading {
        read.await.unwrap();
    }
    eventually("all of it is back", || charged(&stand) == rest).await;
}

/// A client that asks for an upgrade, gets it, and sends until nobody takes any more.
async fn tunnels(stand: &Stand, script: &Script, many: usize) -> Vec<(Wire, Wire)> {
    let mut tunnels = Vec::new();
    for _ in 0..many {
        let mut client = stand.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
        let mut origin = script.accept().await;
        origin.request_head().await;
        origin.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
        assert_eq!(client.head().await.unwrap().0, 101);
        tunnels.push((client, origin));
    }
    tunnels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_that_nobody_reads_are_charged_for_what_the_kernel_has_of_them() {
    const MANY: usize = 20;
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let rest = charged(&stand);
    let tunnels = tunnels(&stand, &script, MANY).await;
    eventually("each is charged", || charged(&stand) - rest == MANY as f64 * (IDLE + TUNNEL)).await;
    let mut sending = Vec::new();
    let mut origins = Vec::new();
    for (mut client, origin) in tunnels {
        origins.push(origin);
        sending.push(tokio::spawn(async move {
            client.stream.write_all(&vec![b'x'; SIZE]).await.unwrap();
            client
        }));
    }
    let ahead = settled(&stand, MANY).await;
    for (client, held) in holders(&stand) {
        let bytes = ahead[&client];
        assert!(bytes > 0.0 && held >= IDLE + TUNNEL - RECEIVED + bytes, "{held} for {bytes}");
    }
    for origin in &mut origins {
        assert_eq!(origin.bytes(SIZE).await.len(), SIZE);
    }
    for client in sending {
        drop(client.await.unwrap());
    }
    drop(origins);
    eventually("all of it is back", || charged(&stand) == rest).await;
}

/// Nobody reads what comes behind a request that has no body, while that is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_behind_a_request_is_charged_when_it_comes() {
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let mut client = stand.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    assert_eq!(only(&stand), IDLE + REQUEST);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("it is charged", || only(&stand) == IDLE + REQUEST + RECEIVED).await;
    // Both are answered, and it is given back with the first.
    origin.send(ANSWER).await;
    assert_eq!(client.answer().await.status, 200);
    origin.request_head().await;
    origin.send(ANSWER).await;
    assert_eq!(client.answer().await.status, 200);
    eventually("it is given back", || only(&stand) == IDLE + REQUEST).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.request_head().await;
    let sending = tokio::spawn(async move {
        let _ = client.stream.write_all(&vec![b'x'; SIZE]).await;
    });
    let ahead = settled(&stand, 1).await;
    assert!(ahead.values().all(|bytes| (1.0..=RECEIVED).contains(bytes)), "{ahead:?}");
    assert_eq!(only(&stand), IDLE + REQUEST + RECEIVED);
    sending.abort();
}

/// Where there is no memory left for that, whoever sends it is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_behind_a_request_never_exceeds_the_number() {
    const MANY: usize = 120;
    let words =
        "memory = '32MiB'\nlimit = 2000\nmax-wait = '1h'\nclient-timeout = '10h'\nhead-timeout = '1h'";
    let stand = Stand::new(words).await;
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let mut client = stand.connect().await;
        client.send(get("/hello")).await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    for client in &mut clients {
        client.send(get("/hold")).await;
    }
    let left = || stand.metric("tidegate_memory_limit_bytes") - charged(&stand);
    eventually("there is no memory for another one", || left() < REQUEST).await;
    let before = stand.metric("tidegate_memory_refused_total");
    for client in &mut clients {
        client.send(get("/hello")).await;
    }
    eventually("some are cut off", || stand.metric("tidegate_memory_refused_total") > before).await;
    assert!(
        stand.metric("tidegate_memory_charged_peak_bytes") <= stand.metric("tidegate_memory_limit_bytes")
    );
    eventually("the others wait on", || {
        stand.origin.release(MANY);
        stand.origin.now() == 0 && stand.in_flight() == 0
    })
    .await;
}

/// An upload that is read gets more, keeps it while the connection is idle, and gives it back to whoever needs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_quickly_may_have_more_until_memory_is_short() {
    let script = origin();
    let stand = Stand::facing(&script, WORDS).await;
    let rest = charged(&stand);
    let mut client = stand.connect().await;
    for _ in 0..2 {
        let taking = async {
            let mut origin = script.accept().await;
            origin.request_head().await;
            assert_eq!(origin.bytes(SIZE).await.len(), SIZE);
            origin.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
        };
        tokio::join!(sends(&mut client, SIZE), taking);
        assert_eq!(client.answer().await.status, 200);
    }
    let mine = client.stream.local_addr().unwrap().port();
    let held = holders(&stand)[&mine];
    assert!((IDLE + 32.0 * KIB..IDLE + REQUEST + 4096.0 * KIB).contains(&held), "{held}");
    // Others want all there is.
    let others: Vec<_> = (0..300).map(|_| upload(&stand, 1000)).collect();
    eventually("it is short", || stand.metric("tidegate_memory_parked") > 0.0).await;
    others.iter().for_each(JoinHandle::abort);
    // But for four segments of the loopback's.
    // It is not among those that hold most any more, or holds little.
    let little = || holders(&stand).get(&mine).is_none_or(|held| *held <= IDLE + REQUEST + 192.0 * KIB);
    eventually("the idle one has given it back", little).await;
    // What the others left behind at the origin is charged too, until that has gone.
    drop((client, script));
    eventually("all of it is back", || charged(&stand) == rest).await;
}
