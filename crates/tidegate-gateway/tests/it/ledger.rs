//! What is charged to the memory, what waits for it, and what comes back.

use std::net::SocketAddr;

use bytes::Bytes;
use tidegate_gateway::memory::Holder;
use tokio::net::TcpStream;

use crate::script::Script;
use crate::stand::{Stand, bounded, eventually, get, post};
use crate::wire2::{Wire2, get2, post2, whole};

/// The least: the program, and floors for about forty connections.
const LEAST: &str = "memory = '32MiB'\nlimit = 2000\nmax-queue = 2000\nmax-wait = '10m'\nclient-timeout = '1h'\nhead-timeout = '10m'";

fn charged(stand: &Stand) -> f64 {
    stand.metric("tidegate_memory_charged_bytes")
}

fn holders(stand: &Stand) -> Vec<Holder> {
    stand.gateway.status().memory.unwrap().top
}

/// Connections that say nothing, until one is not let in.
async fn fill(stand: &Stand) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    while stand.metric("tidegate_memory_parked") == 0.0 {
        let come = stand.metric("tidegate_connections");
        crowd.push(TcpStream::connect(stand.address).await.unwrap());
        eventually("it is accepted", || stand.metric("tidegate_connections") > come).await;
        assert!(crowd.len() < 200, "there is no end");
    }
    crowd
}

async fn upload(client: &mut Wire2, path: &str, size: usize) -> u16 {
    let (answer, mut stream) = client.begin(post2(path).body(()).unwrap(), false).await;
    let mut left = size;
    while left > 0 {
        stream.reserve_capacity(left.min(100_000));
        let room = bounded("credit", std::future::poll_fn(|cx| stream.poll_capacity(cx))).await;
        // If there is none, the answer says why.
        let Some(room) = room else { break };
        let some = room.unwrap().min(left);
        left -= some;
        stream.send_data(Bytes::from(vec![0; some]), left == 0).unwrap();
    }
    whole(answer).await.unwrap().head.status.as_u16()
}

fn peer_of(holders: &[Holder], protocol: &str) -> Option<(SocketAddr, u64)> {
    holders.iter().find(|holder| holder.protocol == protocol).map(|holder| (holder.peer, holder.bytes))
}

#[tokio::test]
async fn who_holds_what_is_seen_and_all_of_it_comes_back() {
    let stand = Stand::new("memory = '64MiB'\nlimit = 10").await;
    let rest = charged(&stand);
    assert!(stand.metric("tidegate_memory_limit_bytes") == f64::from(64 << 20) && rest < f64::from(64 << 20));
    let mut wire = stand.connect().await;
    wire.send(get("/hold")).await;
    let mut client = Wire2::connect(stand.address).await;
    let (answer, _) = client.begin(get2("/hold"), true).await;
    eventually("both are there", || stand.origin.now() == 2).await;
    let top = holders(&stand);
    let (one, two) = (peer_of(&top, "http/1").unwrap(), peer_of(&top, "http/2").unwrap());
    assert!(one.1 < 256 * 1024 && two.1 > 128 * 1024, "{top:?}");
    assert_eq!(one.0, wire.stream.local_addr().unwrap());
    assert_eq!(stand.metric("tidegate_memory_holders"), 2.0);
    let status = stand.admin("/status").await.text();
    assert!(status.contains(&one.0.to_string()) && status.contains("\"charged_bytes\""), "{status}");
    stand.origin.release(2);
    assert_eq!(wire.answer().await.text(), "held");
    assert_eq!(whole(answer).await.unwrap().body, b"held");
    // Where there is plenty it keeps what its next request takes.
    eventually("an idle connection holds little", || {
        peer_of(&holders(&stand), "http/1").unwrap().1 <= (16 + 84) * 1024
    })
    .await;
    drop((wire, client));
    eventually("all of it is back", || charged(&stand) == rest).await;
    assert!(stand.metric("tidegate_memory_charged_peak_bytes") > rest);
    assert_eq!(stand.metric("tidegate_memory_holders"), 0.0);
}

#[tokio::test]
async fn a_request_that_does_not_fit_is_refused_with_memory() {
    const IDLE: usize = 400;
    let stand =
        Stand::new("memory = '32MiB'\nlimit = 2000\nmax-wait = '300ms'\nclient-timeout = '60s'").await;
    // Idle they all fit, but not what all of them ask for.
    let mut crowd = Vec::new();
    for _ in 0..IDLE {
        let mut wire = stand.connect().await;
        wire.send(get("/hello")).await;
        assert_eq!(wire.answer().await.status, 200);
        crowd.push(wire);
    }
    for wire in &mut crowd {
        wire.send(get("/hold")).await;
    }
    eventually("some are refused", || stand.metric("tidegate_memory_refused_total") > 0.0).await;
    eventually("none waits any more", || {
        stand.metric("tidegate_memory_refused_total") as usize + stand.origin.now() == IDLE
    })
    .await;
    assert!(stand.origin.now() > 30, "{}", stand.origin.now());
    let answer = crowd.last_mut().unwrap().answer().await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "memory"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(answer.header("connection"), "close");
    assert!(stand.metric("tidegate_refused_total{reason=\"memory\"}") > 0.0);
    assert!(charged(&stand) <= stand.metric("tidegate_memory_limit_bytes"));
    // Those that were let in have their answers.
    stand.origin.release(2000);
    assert_eq!(crowd[0].answer().await.text(), "held");
    drop(crowd);
    eventually("there is room again", || stand.metric("tidegate_memory_holders") == 0.0).await;
    assert_eq!(stand.get("/hello").await.status, 200);
}

#[tokio::test]
async fn streams_that_do_not_fit_wait_for_their_turn() {
    let stand = Stand::new(LEAST).await;
    let mut clients = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..10 {
        let mut client = Wire2::connect(stand.address).await;
        assert_eq!(client.get("/hello").await.body, b"hello"); // it knows the bound of streams now
        for _ in 0..60 {
            answers.push(client.begin(get2("/hold"), true).await.0);
        }
        clients.push(client);
    }
    eventually("many are there", || stand.origin.now() > 40).await;
    let at_once = stand.origin.now();
    assert!(at_once < 500, "{at_once} at once");
    // The only request of another one is served meanwhile.
    assert_eq!(stand.get("/hello").await.text(), "hello");
    assert_eq!(Wire2::connect(stand.address).await.get("/hello").await.body, b"hello");
    stand.origin.release(600);
    for answer in answers {
        assert_eq!(whole(answer).await.unwrap().body, b"held");
    }
    assert_eq!(stand.metric("tidegate_memory_refused_total"), 0.0);
}

#[tokio::test]
async fn a_grown_window_comes_back_when_memory_is_short() {
    let stand = Stand::new(LEAST).await;
    let mut client = Wire2::connect(stand.address).await;
    assert_eq!(upload(&mut client, "/count", 4_000_000).await, 200);
    let held = || peer_of(&holders(&stand), "http/2").map_or(0, |it| it.1);
    let grown = held();
    assert!(grown > 512 * 1024, "{grown}");
    let crowd = fill(&stand).await;
    // Nine tenths of what it had beyond what a connection needs to live.
    eventually("it is quenched", || held() <= 48 * 1024 + grown / 10).await;
    // It still answers; an upload waits until there is memory for its window.
    assert_eq!(client.get("/hello").await.body, b"hello");
    let (status, ()) = tokio::join!(upload(&mut client, "/count", 1_000_000), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop(crowd);
    });
    assert_eq!(status, 200);
}

#[tokio::test]
async fn bodies_read_ahead_are_charged() {
    let stand = Stand::new("memory = '64MiB'\nlimit = 1\nmax-wait = '10m'\nclient-timeout = '1h'").await;
    let mut held = stand.connect().await;
    held.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    let before = charged(&stand);
    let mut waits = stand.connect().await;
    waits.send(post("/count", &"x".repeat(60_000))).await;
    eventually("one waits", || stand.waiting() == 1).await;
    assert!(charged(&stand) >= before + 60_000.0 - 8192.0);
    stand.origin.release(1);
    assert_eq!((held.answer().await.status, waits.answer().await.status), (200, 200));
}

#[tokio::test]
async fn an_upload_that_is_read_ends_although_others_hold_the_window() {
    let stand = Stand::new("memory = '64MiB'\nlimit = 1\nmax-wait = '1h'\nclient-timeout = '10h'").await;
    let mut client = Wire2::connect(stand.address).await;
    let (first, mut goes_on) = client.begin(post2("/count").body(()).unwrap(), false).await;
    eventually("one is read", || stand.origin.now() == 1).await;
    // These wait for the place at the origin, and use the connection's window up with what nobody reads.
    let mut held = Vec::new();
    for _ in 0..20 {
        let (answer, mut stream) = client.begin(post2("/count").body(()).unwrap(), false).await;
        stream.send_data(Bytes::from(vec![0; 20_000]), true).unwrap();
        held.push(answer);
    }
    eventually("they wait", || stand.waiting() == 20).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    goes_on.send_data(Bytes::from(vec![0; 300_000]), true).unwrap();
    assert_eq!(whole(first).await.unwrap().head.status, 200);
    for answer in held {
        assert_eq!(whole(answer).await.unwrap().head.status, 200);
    }
    assert!(stand.origin.seen().iter().all(|seen| matches!(seen.body, Some(20_000 | 300_000))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_go_on_while_their_windows_shrink() {
    let stand = Stand::new(LEAST).await;
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = stand.address;
        uploads.spawn(async move {
            let mut client = Wire2::connect(address).await;
            upload(&mut client, "/count", 16_000_000).await
        });
    }
    while let Some(status) = uploads.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert!(charged(&stand) <= stand.metric("tidegate_memory_limit_bytes"));
}

#[tokio::test]
async fn what_a_long_head_or_an_upload_took_is_back_when_its_connection_is_idle_and_that_goes_on() {
    let stand = Stand::new("memory = '64MiB'\nlimit = 10").await;
    let rest = charged(&stand);
    let long = format!("X: {}\r\n", "x".repeat(250)).repeat(90);
    let requests = [
        format!("GET /hello HTTP/1.1\r\nHost: a\r\n{long}\r\n"),
        // It leaves nothing to be read at once, or more of its receive buffer would stay for the next.
        format!("POST /count HTTP/1.1\r\nHost: a\r\n{long}Content-Length: 9000\r\n\r\n{}", "x".repeat(9000)),
        get("/hello"),
    ];
    // With what its next request takes, where there is plenty.
    let idle = rest + f64::from((16 + 84) << 10);
    let mut wire = stand.connect().await;
    for request in requests.iter().cycle().take(9) {
        wire.send(request).await;
        assert_eq!(wire.answer().await.status, 200);
        eventually("it holds what an idle one does", || charged(&stand) == idle).await;
    }
    // One behind the other, so that nothing is idle between them.
    for request in requests.iter().cycle().take(9) {
        wire.send(request).await;
    }
    for _ in 0..9 {
        assert_eq!(wire.answer().await.status, 200);
    }
    eventually("it holds what an idle one does", || charged(&stand) == idle).await;
    wire.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nhi").await;
    assert_eq!(wire.answer().await.status, 101);
    assert_eq!(wire.bytes(2).await, b"HI");
}

#[tokio::test]
async fn work_that_goes_on_for_nobody_is_paid_for() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "memory = '64MiB'\nlimit = 10").await;
    let rest = charged(&stand);
    let mut client = stand.connect().await;
    client.send(get("/work")).await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    drop(client);
    eventually("its work goes on", || stand.metric("tidegate_lingering") == 1.0).await;
    eventually("nobody is there", || stand.metric("tidegate_connections") == 0.0).await;
    eventually("it is paid for", || charged(&stand) > rest).await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    eventually("all of it is back", || charged(&stand) == rest && stand.in_flight() == 0).await;
}
