//! What refused connections hear, over real sockets.

use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tidegate::gate::accept::{Accept, Lane, WhenFull};
use tidegate::{Limiter, Readiness, Reason};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

use super::peers::{accept_of, client, is_pending, read_all, refusing, soon, told};

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
        let both = async { tokio::join!(read_all(refused), sleep(Duration::from_millis(10))).0 };
        assert_eq!(told(&accept, both).await, "BUSY\n");
        drop(held);
    }
    let last = refusals.lock().unwrap().pop().unwrap();
    assert_eq!(last.reason(), Reason::Connections);
    // One connection every 10 ms, or slower on a busy machine: the median of one wait is some 7 ms.
    let wait = last.wait().unwrap().expected;
    assert!(wait >= Duration::from_millis(5), "{wait:?}");
    assert!(last.retry_after().is_some());
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
    let hears = async {
        let mut said = String::new();
        soon(second.read_to_string(&mut said)).await.unwrap();
        said
    };
    let said = told(&accept, hears).await;
    assert_eq!((said.as_str(), accept.stats().refused), ("BUSY\n", 1));
    assert!(is_pending(&accept).await);
    assert_eq!(accept.backlog().unwrap_err().kind(), ErrorKind::Unsupported);
    drop(held);
    let _third = UnixStream::connect(&path).await.unwrap();
    soon(accept.accept()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
}
