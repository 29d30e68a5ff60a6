//! What those hear who cannot be admitted.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use crate::stand::{Stand, eventually, get, post};
use crate::wire::Wire;
use crate::wire2::{Wire2, post2, whole};

/// Takes the one place.
async fn full(stand: &Stand) -> Wire {
    let mut wire = stand.connect().await;
    wire.send(get("/hold")).await;
    eventually("the limit is taken", || stand.in_flight() == 1 && stand.origin.now() == 1).await;
    wire
}

async fn free(stand: &Stand, mut first: Wire) {
    stand.origin.release(1);
    assert_eq!(first.answer().await.status, 200);
    stand.is_whole(1).await;
}

#[tokio::test]
async fn a_full_queue_says_so_and_when_to_come_back() {
    let stand = Stand::new("limit = 1\nmax-queue = 0").await;
    // First while nothing is known of the origin's pace, then with it.
    for round in 1..=2 {
        let first = full(&stand).await;
        let answers = [stand.get("/a").await, stand.get("/b").await];
        for answer in &answers {
            assert_eq!((answer.status, answer.reason().as_str()), (503, "queue_full"));
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            let millis = answer.problem()["retry_after_ms"].as_u64().unwrap();
            assert_eq!(seconds, millis.div_ceil(1000).max(1));
            assert_eq!(answer.header("cache-control"), "no-store");
        }
        assert_ne!(answers[0].problem()["retry_after_ms"], answers[1].problem()["retry_after_ms"]);
        // The connection stays: a refusal is not an error.
        let mut wire = stand.connect().await;
        for _ in 0..3 {
            wire.send(post("/c", "")).await;
            assert_eq!(wire.answer().await.status, 503);
        }
        assert_eq!(stand.metric("tidegate_refused_total{reason=\"queue_full\"}"), f64::from(5 * round));
        free(&stand, first).await;
    }
    assert!(stand.origin.seen().iter().all(|seen| seen.target == "/hold"));
}

#[tokio::test]
async fn an_upload_that_is_refused_is_not_read_first() {
    let stand = Stand::new("limit = 1\nmax-queue = 0").await;
    let first = full(&stand).await;
    let mut wire = stand.connect().await;
    wire.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    assert_eq!(wire.answer().await.reason(), "queue_full");
    // The answer also gets through to one that has sent much already.
    for framing in ["Content-Length: 2000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1E8480\r\n"] {
        let mut wire = stand.connect().await;
        wire.send(format!("POST /up HTTP/1.1\r\nHost: a\r\n{framing}")).await;
        wire.send(vec![b'x'; 2_000_000]).await;
        assert_eq!(wire.answer().await.reason(), "queue_full");
    }
    free(&stand, first).await;
}

#[tokio::test]
async fn everybody_hears_it_in_their_own_language() {
    let stand = Stand::new("limit = 1\nmax-queue = 0").await;
    let first = full(&stand).await;
    let page = stand.ask("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*\r\n\r\n").await;
    assert_eq!((page.status, page.header("content-type")), (503, "text/html; charset=utf-8"));
    let refresh = format!("http-equiv=\"refresh\" content=\"{}\"", page.header("retry-after"));
    assert!(page.text().contains(&refresh), "{}", page.text());
    let mut client = Wire2::connect(stand.address).await;
    let request = post2("/pkg.Service/Call").header("content-type", "application/grpc").body(()).unwrap();
    let (answer, _stream) = client.begin(request, false).await;
    let answer = whole(answer).await.unwrap();
    assert_eq!(answer.head.status, 200);
    assert_eq!((answer.header("grpc-status"), answer.body.len()), ("14", 0));
    let pushback: u64 = answer.header("grpc-retry-pushback-ms").parse().unwrap();
    assert!(pushback > 0);
    let plain = client.get("/x").await;
    assert_eq!((plain.head.status.as_u16(), plain.header("content-type")), (503, "application/problem+json"));
    free(&stand, first).await;
}

#[tokio::test]
async fn what_matters_more_goes_first() {
    let stand = Stand::new("limit = 1").await;
    let first = full(&stand).await;
    let mut waiting = Vec::new();
    for (path, fields) in [("/low", "Sec-Purpose: prefetch\r\n"), ("/one", ""), ("/two", "")] {
        let mut wire = stand.connect().await;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        waiting.push(wire);
        eventually("it waits", || stand.waiting() == waiting.len() as u64).await;
    }
    stand.origin.release(1);
    for wire in &mut waiting {
        assert_eq!(wire.answer().await.status, 200);
    }
    let order: Vec<_> = stand.origin.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(order, ["/hold", "/one", "/two", "/low"]);
    assert!(stand.metric("tidegate_wait_seconds_sum") > 0.0);
    drop(first);
    stand.is_whole(1).await;
}

#[tokio::test]
async fn a_wait_ends_in_time() {
    let stand = Stand::new("limit = 1\nmax-wait = '100ms'").await;
    let first = full(&stand).await;
    let answer = stand.get("/x").await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "expired"));
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(stand.metric("tidegate_expired_total"), 1.0);
    free(&stand, first).await;
}

#[tokio::test]
async fn who_has_no_time_does_not_wait_for_nothing() {
    let stand = Stand::new("limit = 1").await;
    let first = full(&stand).await;
    let begun = tokio::time::Instant::now();
    let answer = stand.ask("GET /x HTTP/1.1\r\nHost: a\r\nX-Request-Timeout: 100ms\r\n\r\n").await;
    assert_eq!(answer.status, 503);
    assert!(matches!(answer.reason().as_str(), "deadline" | "expired"), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "long before the longest wait is over");
    free(&stand, first).await;
}

#[tokio::test]
async fn bodies_that_wait_have_a_budget() {
    let stand = Stand::new("limit = 1\nmax-queue-bytes = '64KiB'").await;
    let first = full(&stand).await;
    let mut waits = stand.connect().await;
    waits.send(post("/echo", &"x".repeat(40_000))).await;
    eventually("it waits", || stand.waiting() == 1).await;
    assert_eq!(stand.metric("tidegate_queue_bytes"), 40_000.0);
    let answer = stand.ask(post("/echo", &"x".repeat(40_000))).await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "memory"));
    assert_ne!(answer.header("retry-after"), "");
    stand.origin.release(1);
    assert_eq!(waits.answer().await.body.len(), 40_000);
    assert_eq!(stand.metric("tidegate_queue_bytes"), 0.0);
    drop(first);
    stand.is_whole(1).await;
}

#[tokio::test]
async fn a_dry_run_refuses_nothing_and_counts_it() {
    let stand = Stand::new("limit = 1\nmax-queue = 0\ndry-run = true").await;
    let first = full(&stand).await;
    for _ in 0..3 {
        assert_eq!(stand.get("/hello").await.status, 200);
    }
    assert_eq!(stand.ask(post("/echo", "x")).await.status, 200);
    assert_eq!(stand.metric("tidegate_would_refuse_total"), 4.0);
    assert_eq!(stand.metric("tidegate_refused_total{reason=\"queue_full\"}"), 0.0);
    drop(first);
    stand.origin.release(1);
    eventually("all is back", || stand.in_flight() == 0).await;
}

#[tokio::test]
async fn a_bypass_needs_no_permit_and_is_counted() {
    let stand = Stand::new("limit = 1\nmax-queue = 0\nbypass = ['/healthz']").await;
    let first = full(&stand).await;
    assert_eq!(stand.get("/healthz?deep").await.status, 200);
    assert_eq!(stand.get("/healthz/not").await.status, 503);
    assert_eq!(stand.metric("tidegate_bypassed_total"), 1.0);
    drop(first);
    stand.origin.release(1);
    eventually("all is back", || stand.in_flight() == 0).await;
}

#[tokio::test]
async fn no_more_connections_are_accepted_than_allowed() {
    let stand = Stand::new("limit = 2\nmax-connections = 2").await;
    eventually("nobody is there", || stand.metric("tidegate_connections") == 0.0).await;
    let (mut one, mut two, mut three) = (stand.connect().await, stand.connect().await, stand.connect().await);
    one.send(get("/hello")).await;
    assert_eq!(one.answer().await.status, 200);
    two.send(get("/hello")).await;
    assert_eq!(two.answer().await.status, 200);
    three.send(get("/hello")).await;
    eventually("two are there", || stand.metric("tidegate_connections") == 2.0).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(stand.origin.count(), 2);
    drop(one);
    assert_eq!(three.answer().await.status, 200);
}

#[tokio::test]
async fn a_hundred_is_sent_on_http2_too_after_admission_only() {
    let stand = Stand::new("limit = 1\nmax-queue = 0").await;
    let mut client = Wire2::connect(stand.address).await;
    let request = || post2("/echo").header("expect", "100-continue").body(()).unwrap();
    let (mut answer, mut stream) = client.begin(request(), false).await;
    let interim =
        crate::stand::bounded("a hundred", std::future::poll_fn(|cx| answer.poll_informational(cx))).await;
    assert_eq!(interim.unwrap().unwrap().status(), 100);
    stream.send_data(Bytes::from_static(b"body"), true).unwrap();
    assert_eq!(whole(answer).await.unwrap().body, b"body");
    let first = full(&stand).await;
    let (answer, _stream) = client.begin(request(), false).await;
    assert_eq!(whole(answer).await.unwrap().head.status, 503);
    free(&stand, first).await;
}
