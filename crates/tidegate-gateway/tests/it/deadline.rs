//! Requests that say how long they wait: who would have its answer too late hears so at the gate, at once.

use std::time::Duration;

use tokio::time::sleep;

use crate::reasons::refused;
use crate::refusals::{free, full};
use crate::silence::paced;
use crate::stand::{Stand, eventually, get, post};
use crate::wire::{Answer, Wire};
use crate::wire2::{Answer2, Wire2, get2, post2, whole};

/// A request of this kind that says one field more.
fn saying(request: &str, field: &str) -> String {
    request.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"))
}

async fn asks2(client: &mut Wire2, (name, value): (&'static str, &str)) -> Answer2 {
    let mut request = get2("/hold");
    request.headers_mut().insert(name, value.parse().unwrap());
    let (answer, _) = client.begin(request, true).await;
    whole(answer).await.unwrap()
}

/// A gRPC call, whose client has not sent its message.
async fn calls(client: &mut Wire2, timeout: &str) -> Answer2 {
    let call = post2("/hold").header("content-type", "application/grpc").header("grpc-timeout", timeout);
    let (answer, _message) = client.begin(call.body(()).unwrap(), false).await;
    whole(answer).await.unwrap()
}

fn is_too_late(answer: &Answer, how: &str) {
    assert_eq!((answer.status, answer.reason().as_str()), (503, "deadline"), "{how}");
}

fn is_too_late2(answer: &Answer2, how: &str) {
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.head.status.as_u16(), &problem["reason"]), (503, &"deadline".into()), "{how}");
}

fn is_unavailable(answer: &Answer2, how: &str) {
    assert_eq!((answer.head.status.as_u16(), answer.header("grpc-status")), (200, "14"), "{how}");
}

/// Every field in which there is no time, and some with more beside it: the shortest counts.
const NO_TIME: [&str; 8] = [
    "Prefer: wait=0",
    "Prefer: respond-async, wait=0",
    "X-Request-Timeout: 0",
    "X-Request-Timeout: 0ms",
    "grpc-timeout: 0S",
    "grpc-timeout: 1n",
    "Prefer: wait=3600\r\nX-Request-Timeout: 0",
    "grpc-timeout: 1H\r\nPrefer: wait=0",
];

#[tokio::test]
async fn who_has_no_time_at_all_is_refused_while_everything_is_held() {
    let stand = Stand::new("limit = 1").await;
    let first = full(&stand).await;
    let mut told = 0.0;
    for field in NO_TIME {
        is_too_late(&stand.ask(saying(&get("/x"), field)).await, field);
        is_too_late(&stand.ask(saying(&post("/x", "sized"), field)).await, field);
        told += 2.0;
    }
    // Nor need it send its body first.
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    is_too_late(&stand.ask(saying(head, "X-Request-Timeout: 0")).await, head);
    let mut client = Wire2::connect(stand.address).await;
    for field in [("prefer", "wait=0"), ("x-request-timeout", "0"), ("grpc-timeout", "0m")] {
        is_too_late2(&asks2(&mut client, field).await, field.0);
        told += 1.0;
    }
    is_unavailable(&calls(&mut client, "0m").await, "grpc");
    told += 2.0;
    assert_eq!((refused(&stand, "deadline"), stand.metric("tidegate_expired_total")), (told, 0.0));
    assert_eq!((stand.waiting(), stand.origin.count()), (0, 1));
    free(&stand, first).await;
    // While there is a place, it is tried: whether that is in time is its client's to judge.
    assert_eq!(stand.ask(saying(&get("/hello"), "Prefer: wait=0")).await.text(), "hello");
}

/// How long work takes here.
const WORK: Duration = Duration::from_secs(10);
/// As many that wait are more than a minute of it, and one is not.
const LINE: u64 = 8;

async fn waits(stand: &Stand, field: &str) -> Wire {
    let before = stand.waiting();
    let mut wire = stand.connect().await;
    wire.send(saying(&get("/hold"), field)).await;
    eventually("it waits", || stand.waiting() == before + 1).await;
    wire
}

/// The pace is learned in paused time. However late a busy machine is, that makes the work longer, and never shorter.
#[tokio::test(start_paused = true)]
async fn who_has_time_for_the_work_and_not_for_the_line_hears_it_at_the_door() {
    let _pace = paced();
    let stand = Stand::new("limit = 1").await;
    let mut line = vec![full(&stand).await];
    for _ in 0..3 {
        line.push(waits(&stand, "X-Any: 1").await);
    }
    for mut wire in line.drain(..3) {
        sleep(WORK).await;
        stand.origin.release(1);
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!((stand.in_flight(), stand.waiting()), (1, 0));
    // Behind one other a minute is enough.
    drop(waits(&stand, "X-Request-Timeout: 60s").await);
    eventually("it has left", || stand.waiting() == 0).await;
    assert_eq!(refused(&stand, "deadline"), 0.0);
    for _ in 0..LINE {
        line.push(waits(&stand, "X-Any: 1").await);
    }
    // Behind that many it is not.
    let before = stand.origin.count();
    for field in
        ["X-Request-Timeout: 60s", "X-Request-Timeout: 60000ms", "Prefer: wait=60", "grpc-timeout: 1M"]
    {
        let answer = stand.ask(saying(&get("/hold"), field)).await;
        is_too_late(&answer, field);
        let problem = answer.problem();
        assert!(problem["predicted_wait_ms"].as_u64().unwrap() >= 1000 * LINE * WORK.as_secs(), "{problem}");
    }
    let mut client = Wire2::connect(stand.address).await;
    is_too_late2(&asks2(&mut client, ("prefer", "wait=60")).await, "HTTP/2");
    is_unavailable(&calls(&mut client, "60000m").await, "grpc");
    assert_eq!((refused(&stand, "deadline"), stand.waiting()), (6.0, LINE));
    // An hour is, whoever says it.
    for field in ["X-Request-Timeout: 3600", "Prefer: wait=3600", "grpc-timeout: 1H"] {
        line.push(waits(&stand, field).await);
    }
    assert_eq!(stand.origin.count(), before, "the origin hears nothing of all that");
    stand.origin.release(line.len());
    for wire in &mut line {
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!(refused(&stand, "deadline"), 6.0);
    stand.is_whole(1).await;
}
