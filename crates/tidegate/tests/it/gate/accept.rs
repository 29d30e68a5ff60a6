//! Bounded accept, over real sockets.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::gate::accept::{Accept, AcceptError, BoundBy, Lane, Listen, WhenFull};
use tidegate::{AskReady, Limiter, QueueConfig, Readiness, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Long against anything that happens at once, short for a test.
const NOTHING_HAPPENS: Duration = Duration::from_millis(150);
/// How long something that must happen may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn accept_of(limit: u64) -> Accept {
    Accept::new(listener().await, Limiter::fixed(limit)).unwrap()
}

async fn client(accept: &Accept) -> TcpStream {
    TcpStream::connect(accept.local_addr().unwrap()).await.unwrap()
}

/// Nobody is handed out for a while.
async fn is_pending<L: Listen>(accept: &Accept<L>) -> bool {
    timeout(NOTHING_HAPPENS, accept.accept()).await.is_err()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it takes too long")
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut said = String::new();
    soon(stream.read_to_string(&mut said)).await.unwrap();
    said
}

/// Accepts until it is dropped, and hands nobody out: everybody must be refused.
fn refusing(accept: Accept) -> JoinHandle<Accept> {
    tokio::spawn(async move {
        let _ = timeout(SOON, accept.accept()).await;
        accept
    })
}

#[tokio::test]
async fn pause_leaves_connections_in_the_kernels_queue_and_shows_them() {
    let accept = accept_of(2).await;
    assert!(is_pending(&accept).await);
    assert_eq!(accept.connections().stats().in_flight, 0, "an idle listener holds no permit");
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(client(&accept).await);
    }
    let first = soon(accept.accept()).await.unwrap();
    let _second = soon(accept.accept()).await.unwrap();
    assert!(is_pending(&accept).await);
    let backlog = accept.backlog().unwrap();
    assert_eq!((backlog.waiting, backlog.is_full()), (3, false));
    assert!(backlog.capacity >= 5);
    assert!(matches!(AskReady::readiness(&accept), Readiness::Busy { ahead: 3, .. }));

    let (next, ()) = soon(async {
        tokio::join!(accept.accept(), async {
            sleep(Duration::from_millis(20)).await;
            drop(first);
        })
    })
    .await;
    assert_eq!((next.unwrap().lane, accept.backlog().unwrap().waiting), (Lane::Main, 2));
    let stats = accept.stats();
    assert_eq!((stats.accepted, stats.refused, stats.shortages), (3, 0, 0));
    assert_eq!(accept.connections().stats().refused_total(), 0);
}

#[tokio::test]
async fn whoever_left_while_it_paused_is_not_handed_out() {
    let accept = accept_of(1).await;
    let _first = client(&accept).await;
    let held = soon(accept.accept()).await.unwrap();
    let leaver = client(&accept).await;
    let mut stayer = client(&accept).await;
    leaver.set_zero_linger().unwrap();
    drop(leaver);
    stayer.write_all(b"here").await.unwrap();
    let (next, ()) = soon(async {
        tokio::join!(accept.accept(), async {
            sleep(Duration::from_millis(50)).await;
            drop(held);
        })
    })
    .await;
    let mut said = [0; 4];
    soon(next.unwrap().stream.read_exact(&mut said)).await.unwrap();
    assert_eq!((&said, accept.stats().gone), (b"here", 1));
}

#[tokio::test]
async fn curl_understands_the_503() {
    let accept = accept_of(1).await.when_full(WhenFull::Answer503);
    let address = accept.local_addr().unwrap();
    let _first = client(&accept).await;
    let _held = soon(accept.accept()).await.unwrap();
    assert!(matches!(accept.readiness(), Readiness::Saturated { .. }));
    let task = refusing(accept);
    let calls: Vec<_> = (0..10)
        .map(|call| {
            let mut curl = tokio::process::Command::new("curl");
            curl.args(["-sS", "-i", "--max-time", "15"]);
            if call % 2 == 1 {
                // A body that is not read must not turn the answer into a reset.
                curl.args(["--data-binary", &"x".repeat(30_000)]);
            }
            curl.arg(format!("http://{address}/")).stdout(Stdio::piped()).spawn().unwrap().wait_with_output()
        })
        .collect();
    for call in calls {
        let output = soon(call).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        let (head, body) = said.rsplit_once("\r\n\r\n").unwrap();
        assert!(head.contains("HTTP/1.1 503 Service Unavailable"), "{head}");
        let after = head.lines().find_map(|line| line.strip_prefix("Retry-After: ")).unwrap();
        assert!((1..=30).contains(&after.parse::<u64>().unwrap()), "{after}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&problem["reason"], &problem["status"]), (&"connections".into(), &503.into()));
    }
    task.abort();
}

#[tokio::test]
async fn clients_that_neither_read_nor_close_are_told_and_hold_nothing_up() {
    let accept = accept_of(1).await.when_full(WhenFull::Answer503);
    let _first = client(&accept).await;
    let held = soon(accept.accept()).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(client(&accept).await);
    }
    let task = tokio::spawn(async move {
        let next = accept.accept().await;
        (accept, next)
    });
    // More than are told at a time: the others are told in passing. Nobody closes before everybody has heard it.
    let mut said = [0; 12];
    for client in &mut clients {
        soon(client.read_exact(&mut said)).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 503");
    }
    drop(held);
    let _newcomer = TcpStream::connect(clients[0].peer_addr().unwrap()).await.unwrap();
    let (accept, next) = soon(task).await.unwrap();
    assert_eq!((next.unwrap().lane, accept.stats().refused), (Lane::Main, 100));
    assert_eq!(accept.connections().stats().refused(Reason::Connections), 100);
}

#[tokio::test]
async fn reset_says_no_at_once() {
    let accept = accept_of(1).await.when_full(WhenFull::Reset);
    let _first = client(&accept).await;
    let _held = soon(accept.accept()).await.unwrap();
    let mut second = client(&accept).await;
    let task = refusing(accept);
    let error = soon(second.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    task.abort();
}

#[tokio::test]
async fn once_the_pace_is_known_a_refusal_tells_the_wait() {
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&refusals);
    let accept = accept_of(1).await.when_full(WhenFull::answer(move |refused| {
        heard.lock().unwrap().push(refused.clone());
        b"BUSY\n".to_vec()
    }));
    let accept = Arc::new(accept);
    for _ in 0..60 {
        let _served = client(&accept).await;
        let held = soon(accept.accept()).await.unwrap();
        let refused = client(&accept).await;
        let said = tokio::join!(timeout(Duration::from_millis(10), accept.accept()), read_all(refused)).1;
        assert_eq!(said, "BUSY\n");
        drop(held);
    }
    let last = refusals.lock().unwrap().pop().unwrap();
    assert_eq!(last.reason(), Reason::Connections);
    // One connection every 10 ms, or slower on a busy machine.
    let wait = last.wait().unwrap().expected;
    assert!(wait >= Duration::from_millis(5) && wait < Duration::from_secs(2), "{wait:?}");
    assert!(last.retry_after().is_some());
}

#[tokio::test]
async fn ten_thousand_connections_for_a_small_pool_cannot_be_written() {
    let pool = Limiter::builder().name("pool").limit(2).queue(QueueConfig::bounded(3)).build().unwrap();
    let accept = accept_of(10_000).await.linked_to(&pool);
    assert_eq!((accept.bound().connections, accept.bound().by), (5, BoundBy::Linked));
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(client(&accept).await);
    }
    let mut held = Vec::new();
    while let Ok(next) = timeout(NOTHING_HAPPENS, accept.accept()).await {
        held.push(next.unwrap());
    }
    assert_eq!((held.len(), accept.backlog().unwrap().waiting), (5, 45));
    // The limit behind rises: more may come in, and nobody has to say so.
    pool.set_limit(4);
    for _ in 0..2 {
        held.push(soon(accept.accept()).await.unwrap());
    }
    assert!(is_pending(&accept).await);
    // One ends: one comes in.
    held.pop();
    held.push(soon(accept.accept()).await.unwrap());
    assert!(is_pending(&accept).await);
}

#[tokio::test]
async fn nobody_comes_in_while_the_pool_would_refuse_what_it_asks() {
    let pool = Limiter::builder().name("pool").limit(2).queue(QueueConfig::bounded(1)).build().unwrap();
    let accept = accept_of(10_000).await.linked_to(&pool);
    let _client = client(&accept).await;
    let held = pool.try_acquire(2).unwrap();
    let waiting = pool.enqueue(1).unwrap();
    assert!(is_pending(&accept).await, "one connection would be refused by the pool");
    assert!(matches!(accept.readiness(), Readiness::Busy { ahead: 1, .. }));
    let (next, ()) = soon(async {
        tokio::join!(accept.accept(), async {
            sleep(Duration::from_millis(20)).await;
            drop(waiting);
        })
    })
    .await;
    next.unwrap();
    drop(held);
    drop(pool.drain());
    let _client = client(&accept).await;
    assert!(soon(accept.accept()).await.unwrap_err().is_draining(), "who is linked ends with the pool");
}

#[tokio::test]
async fn the_health_lane_is_served_while_everything_is_full() {
    let accept = accept_of(1).await.health_lane(listener().await).unwrap();
    let health = accept.health_addr().unwrap().unwrap();
    let _first = client(&accept).await;
    let _held = soon(accept.accept()).await.unwrap();
    let _waiting = client(&accept).await;
    for _ in 0..20 {
        let _probe = TcpStream::connect(health).await.unwrap();
        assert_eq!(soon(accept.accept()).await.unwrap().lane, Lane::Health);
    }
    assert_eq!((accept.stats().health, accept.backlog().unwrap().waiting), (20, 1));
}

#[tokio::test]
async fn a_flood_of_probes_does_not_starve_the_main_lane() {
    let accept = accept_of(100).await.health_lane(listener().await).unwrap();
    let health = accept.health_addr().unwrap().unwrap();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(client(&accept).await);
        clients.push(TcpStream::connect(health).await.unwrap());
    }
    let mut lanes = Vec::new();
    let mut held = Vec::new();
    for _ in 0..20 {
        let next = soon(accept.accept()).await.unwrap();
        lanes.push(next.lane);
        held.push(next);
    }
    assert!(lanes.chunks(2).all(|turn| turn[0] != turn[1]), "{lanes:?}");
}

#[tokio::test]
async fn a_drain_ends_it_and_the_health_lane_last() {
    let accept = accept_of(10).await.health_lane(listener().await).unwrap();
    let health = accept.health_addr().unwrap().unwrap();
    let _first = client(&accept).await;
    let held = soon(accept.accept()).await.unwrap();
    let drained = accept.connections().drain();
    let _late = client(&accept).await;
    assert!(matches!(accept.readiness(), Readiness::Draining { .. }));
    assert!(is_pending(&accept).await);
    let _probe = TcpStream::connect(health).await.unwrap();
    assert_eq!(soon(accept.accept()).await.unwrap().lane, Lane::Health);
    drop(held);
    assert!(soon(accept.accept()).await.unwrap_err().is_draining());
    soon(drained).await;
}

#[tokio::test]
async fn a_drain_reaches_an_accept_that_waits_and_tells_those_in_the_queue() {
    let accept = Arc::new(accept_of(1).await.when_full(WhenFull::Answer503));
    let waiting = tokio::spawn({
        let accept = Arc::clone(&accept);
        async move { accept.accept().await }
    });
    sleep(Duration::from_millis(20)).await;
    drop(accept.connections().drain());
    assert!(soon(waiting).await.unwrap().unwrap_err().is_draining());
    let late = client(&accept).await;
    assert!(soon(accept.accept()).await.unwrap_err().is_draining());
    let said = read_all(late).await;
    assert!(said.contains(r#""reason":"draining""#), "{said}");
}

#[tokio::test]
async fn a_listener_that_was_shut_down_is_an_error_not_a_loop() {
    let listener = listener().await.into_std().unwrap();
    let other = std::net::TcpStream::from(OwnedFd::from(listener.try_clone().unwrap()));
    let accept = Accept::new(TcpListener::from_std(listener).unwrap(), Limiter::fixed(1)).unwrap();
    other.shutdown(std::net::Shutdown::Both).unwrap();
    let error = soon(accept.accept()).await.unwrap_err();
    assert!(matches!(error, AcceptError::Listener(_)), "{error}");
    assert_eq!(accept.connections().stats().in_flight, 0);
}

#[tokio::test]
async fn unix_sockets_too() {
    let path = std::env::temp_dir().join(format!("tidegate-accept-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let accept = Accept::new(listener, Limiter::fixed(1)).unwrap();
    let accept = accept.when_full(WhenFull::answer(|_| b"BUSY\n".to_vec()));
    let _first = UnixStream::connect(&path).await.unwrap();
    let held = soon(accept.accept()).await.unwrap();
    let mut second = UnixStream::connect(&path).await.unwrap();
    assert!(is_pending(&accept).await);
    let mut said = String::new();
    soon(second.read_to_string(&mut said)).await.unwrap();
    assert_eq!((said.as_str(), accept.stats().refused), ("BUSY\n", 1));
    assert_eq!(accept.backlog().unwrap_err().kind(), ErrorKind::Unsupported);
    drop(held);
    let _third = UnixStream::connect(&path).await.unwrap();
    soon(accept.accept()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
}
