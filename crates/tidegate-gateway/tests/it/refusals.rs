//! What those hear who cannot be admitted.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tidegate::Reason;
use tokio::time::sleep;

use crate::reasons::refused;
use crate::stand::{Stand, eventually, get, post};
use crate::wire::Wire;
use crate::wire2::{Wire2, post2, whole};

/// Takes the one place.
pub(crate) async fn full(stand: &Stand) -> Wire {
    let mut wire = stand.connect().await;
    wire.send(get("/hold")).await;
    eventually("the limit is taken", || stand.in_flight() == 1 && stand.origin.now() == 1).await;
    wire
}

pub(crate) async fn free(stand: &Stand, mut first: Wire) {
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
        let mut told = BTreeSet::new();
        for _ in 0..5 {
            let answer = stand.get("/a").await;
            assert_eq!((answer.status, answer.reason().as_str()), (503, "queue_full"));
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            let millis = answer.problem()["retry_after_ms"].as_u64().unwrap();
            assert_eq!(seconds, millis.div_ceil(1000).max(1));
            assert_eq!(answer.header("cache-control"), "no-store");
            told.insert(millis);
        }
        // Each has a moment of its own. How far that is may be the same for two, if as much time went by between them.
        assert!(told.len() > 1, "{told:?}");
        // The connection stays: a refusal is not an error.
        let mut wire = stand.connect().await;
        for _ in 0..3 {
            wire.send(post("/c", "")).await;
            assert_eq!(wire.answer().await.status, 503);
        }
        assert_eq!(stand.metric("tidegate_refused_total{reason=\"queue_full\"}"), f64::from(8 * round));
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
    let stand = Stand::new("limit = 1\nmax-wait = '1h'\nclient-timeout = '10h'").await;
    let first = full(&stand).await;
    let answer = stand.ask("GET /x HTTP/1.1\r\nHost: a\r\nX-Request-Timeout: 100ms\r\n\r\n").await;
    assert_eq!(answer.status, 503);
    assert!(matches!(answer.reason().as_str(), "deadline" | "expired"), "{answer:?}");
    // That it came at all: the longest wait is an hour.
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

/// What is counted of a dry run whose words would have refused this.
fn would_refuse(stand: &Stand) -> f64 {
    assert!(Reason::ALL.iter().all(|reason| stand.gateway.metrics().refused_for(*reason) == 0));
    let status = stand.gateway.status();
    assert_eq!(status.would_refuse as f64, stand.metric("tidegate_would_refuse_total"));
    stand.metric("tidegate_would_refuse_total")
}

#[tokio::test]
async fn a_dry_run_lets_bodies_pass_that_would_not_find_room() {
    let stand = Stand::new("max-queue-bytes = 10\ndry-run = true").await;
    for size in [1, 11, 100_000] {
        assert_eq!(stand.ask(post("/echo", &"x".repeat(size))).await.body.len(), size);
    }
    assert_eq!((would_refuse(&stand), stand.metric("tidegate_queue_bytes")), (2.0, 0.0));
    // Who would have been refused at the door anyway counts once.
    let stand = Stand::new("limit = 1\nmax-queue = 0\nmax-queue-bytes = 10\ndry-run = true").await;
    let first = full(&stand).await;
    assert_eq!(stand.ask(post("/echo", &"x".repeat(100))).await.status, 200);
    assert_eq!(would_refuse(&stand), 1.0);
    drop(first);
}

#[tokio::test]
async fn a_dry_run_lets_streams_and_those_that_bypass_pass() {
    let words = "limit = 8\nmax-streams = 1\nbypass = ['/hold']\ndry-run = true";
    let stand = Stand::with(words, |effective| effective.gateway.max_bypass = 1).await;
    let mut listeners = Vec::new();
    for open in 1..=3 {
        let mut wire = stand.connect().await;
        wire.send(get("/events")).await;
        assert_eq!(wire.head().await.unwrap().0, 200);
        listeners.push(wire);
        assert_eq!(
            (would_refuse(&stand), stand.metric("tidegate_streams")),
            (f64::from(open - 1), f64::from(open))
        );
    }
    let mut tunnel = stand.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(tunnel.answer().await.status, 101);
    assert_eq!(would_refuse(&stand), 3.0);
    let mut checks = Vec::new();
    for _ in 0..2 {
        let mut wire = stand.connect().await;
        wire.send(get("/hold")).await;
        checks.push(wire);
    }
    eventually("both are there", || stand.origin.now() >= 2).await;
    assert_eq!(would_refuse(&stand), 4.0);
    stand.origin.release(2);
    for mut wire in checks {
        assert_eq!(wire.answer().await.text(), "held");
    }
}

/// An answer that lies unread keeps its permit where no stream has room; that is not a refusal, so none is counted.
#[tokio::test]
async fn a_dry_run_counts_no_answer_that_nobody_would_refuse() {
    let stand = Stand::new("limit = 8\nmax-streams = 1\ndry-run = true").await;
    let mut listener = stand.connect().await;
    listener.send(get("/events")).await;
    assert_eq!(listener.head().await.unwrap().0, 200);
    let mut lies = stand.connect().await;
    lies.send(get("/big/100000000")).await;
    eventually("it is there", || stand.in_flight() == 1).await;
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!((would_refuse(&stand), stand.in_flight()), (0.0, 1));
    drop(listener);
    eventually("it becomes a stream", || stand.in_flight() == 0).await;
}

#[tokio::test]
async fn the_estimate_of_a_dry_run_watches_and_says_so() {
    for limit in ["", "shared = true"] {
        let stand = Stand::new(&format!("dry-run = true\n{limit}")).await;
        for _ in 0..50 {
            assert_eq!(stand.get("/hello").await.status, 200);
        }
        let page: serde_json::Value = serde_json::from_slice(&stand.admin("/status").await.body).unwrap();
        assert_eq!((&page["dry_run"], &page["why"]["passive"]), (&true.into(), &true.into()), "{page}");
        assert_eq!(page["admitted"], 50);
        let stand = Stand::new(limit).await;
        let page: serde_json::Value = serde_json::from_slice(&stand.admin("/status").await.body).unwrap();
        assert_eq!((&page["dry_run"], &page["why"]["passive"]), (&false.into(), &false.into()), "{page}");
    }
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

/// Health checks have a bound of their own, so that whoever asks for nothing else cannot pass the limit by.
#[tokio::test]
async fn more_that_bypass_than_allowed_are_refused_and_take_nothing_of_the_limit() {
    const MOST: usize = 3;
    const LIMIT: usize = 2;
    let words = format!("limit = {LIMIT}\nmax-queue = 10\nbypass = ['/hold']");
    let stand = Stand::with(&words, |effective| {
        assert_eq!(effective.gateway.max_bypass, 64, "docs/defaults.md");
        effective.gateway.max_bypass = MOST as u64;
    })
    .await;
    let untouched = stand.gateway.limiter().stats();
    let mut checks = Vec::new();
    for held in 1..=MOST {
        let mut wire = stand.connect().await;
        wire.send(get("/hold")).await;
        eventually("it is there", || stand.origin.now() == held).await;
        checks.push(wire);
    }
    // One more, whichever way it comes. Nobody waits for a place among these, although the queue has room.
    let mut client = Wire2::connect(stand.address).await;
    for asked in 1..=3 {
        let (status, reason) = match asked {
            1 => {
                let answer = stand.get("/hold").await;
                (answer.status, answer.reason())
            }
            2 => {
                let answer = stand.ask(post("/hold", "check")).await;
                (answer.status, answer.reason())
            }
            _ => {
                let answer = client.get("/hold").await;
                let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                (answer.head.status.as_u16(), problem["reason"].as_str().unwrap().to_owned())
            }
        };
        assert_eq!((status, reason.as_str()), (503, "queue_full"), "{asked}");
    }
    assert_eq!(refused(&stand, "queue_full"), 3.0);
    assert_eq!(stand.gateway.limiter().stats(), untouched, "the limiter has heard of none of them");
    assert_eq!((stand.origin.now(), stand.origin.count()), (MOST, MOST));
    assert_eq!(stand.metric("tidegate_bypassed_total"), MOST as f64, "who was refused has passed nothing");
    // Others have all of the limit meanwhile.
    for path in ["/hello", "/big/100"] {
        assert_eq!(stand.get(path).await.status, 200);
    }
    // A place that comes back is given again.
    stand.origin.release(1);
    assert_eq!(checks.remove(0).answer().await.text(), "held", "first come, first served");
    let mut wire = stand.connect().await;
    wire.send(get("/hold")).await;
    checks.push(wire);
    eventually("it is there", || stand.origin.count() == MOST + 3).await;
    stand.origin.release(MOST);
    for wire in &mut checks {
        assert_eq!(wire.answer().await.text(), "held");
    }
    assert_eq!(stand.metric("tidegate_bypassed_total"), MOST as f64 + 1.0);
    assert_eq!(stand.gateway.limiter().stats().admitted, 2);
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
