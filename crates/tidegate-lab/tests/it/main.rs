//! The fragile origin and the load generator over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod bulk;

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_lab::load::{Arrivals, Crowd, LoadSettings, Report, Retry, Run, run};
use tidegate_lab::origin::{Origin, OriginSettings};
use tidegate_lab::spec::Distribution;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn origin(settings: OriginSettings) -> SocketAddr {
    let origin = Origin::bind(([127, 0, 0, 1], 0).into(), settings).await.unwrap();
    let address = origin.local_addr().unwrap();
    tokio::spawn(origin.serve());
    address
}

fn quick() -> OriginSettings {
    let mut settings = OriginSettings::default();
    (settings.mean, settings.distribution) = (Duration::from_millis(1), Distribution::Fixed);
    settings
}

fn constant(rate: &str) -> Crowd {
    Crowd::Open { rate: rate.parse().unwrap(), arrivals: Arrivals::Constant }
}

fn load(address: SocketAddr) -> LoadSettings {
    let mut settings = LoadSettings::new(format!("http://{address}/").parse().unwrap(), constant("200"));
    (settings.duration, settings.timeout) = (Duration::from_secs(1), Duration::from_secs(20));
    settings.connections = 500;
    settings
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn stat(address: SocketAddr, name: &str) -> u64 {
    let answer = ask(address, "GET /.lab/stats").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let stats: serde_json::Value = serde_json::from_str(body).unwrap();
    stats[name].as_u64().unwrap()
}

fn ends(report: &Report) -> u64 {
    report.ok + report.refused + report.timed_out + report.left + report.failed
}

#[tokio::test]
async fn every_request_is_accounted_for_on_both_sides() {
    let address = origin(quick()).await;
    let report = run(load(address)).await.unwrap();
    assert_eq!((report.offered, report.ok, report.attempts), (199, 199, 199));
    assert_eq!((stat(address, "served").await, stat(address, "gone_ns").await), (199, 0));
    assert_eq!(report.seconds.iter().map(|second| second.ok).sum::<u64>(), 199);
    assert!(report.ok_ms.p50 >= 1.0 && report.ok_ms.max >= report.ok_ms.p99);
}

#[tokio::test]
async fn the_origin_works_on_for_clients_that_left() {
    let mut one = quick();
    (one.workers, one.mean) = (1, Duration::from_millis(20));
    let address = origin(one).await;
    let mut settings = load(address);
    (settings.leave, settings.crowd) = (Some("100%@30ms".parse().unwrap()), constant("500"));
    let report = run(settings).await.unwrap();
    assert_eq!(report.offered, ends(&report));
    assert!(report.left > 400, "{report:?}");
    // A worker of 20 ms has done 50 of 499 by then; all the others are work for nobody.
    while stat(address, "served_gone").await < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(stat(address, "gone_ns").await > 0 && stat(address, "peak").await > 100);
}

#[tokio::test]
async fn requests_beyond_the_connections_are_failed_not_queued() {
    let mut stuck = quick();
    (stuck.workers, stuck.mean) = (1, Duration::from_secs(600));
    let address = origin(stuck).await;
    // Long after the last has come: until then no connection is given back.
    let mut settings = load(address);
    (settings.connections, settings.timeout) = (10, Duration::from_secs(6));
    let report = run(settings).await.unwrap();
    assert_eq!((report.offered, report.timed_out, report.failed), (199, 10, 189));
    assert_eq!(stat(address, "peak").await, 10);
}

#[tokio::test]
async fn failed_requests_are_retried_as_often_as_told() {
    // Bound and not listening: nobody else is given its port meanwhile.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = nobody.local_addr().unwrap();
    let mut settings = load(closed);
    (settings.retries, settings.crowd) = (3, constant("20"));
    let report = run(settings).await.unwrap();
    assert_eq!((report.offered, report.failed, report.attempts), (19, 19, 76));
}

/// A server that says this to everybody.
async fn parrot(answer: &'static str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = [0; 1024];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn refusals_are_told_apart_and_their_moment_is_obeyed() {
    let address = parrot("HTTP/1.1 503 No\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n").await;
    let mut settings = load(address);
    (settings.crowd, settings.retries, settings.retry) = (constant("10"), 1, Retry::RetryAfter);
    let report = run(settings).await.unwrap();
    assert_eq!((report.offered, report.refused, report.attempts), (9, 9, 18));
    assert!(report.refused_ms.p50 >= 1000.0, "waited the second it was told: {report:?}");
}

#[tokio::test]
async fn who_is_told_that_it_would_not_help_does_not_come_back() {
    let address = parrot(
        "HTTP/1.1 503 No\r\nretry-after: 1\r\ncontent-type: application/problem+json\r\ncontent-length: 24\r\n\r\n\
         {\"worth_retrying\":false}",
    )
    .await;
    let mut settings = load(address);
    (settings.crowd, settings.retries, settings.retry) = (constant("10"), 3, Retry::RetryAfter);
    let report = run(settings.clone()).await.unwrap();
    assert_eq!((report.offered, report.refused, report.attempts), (9, 9, 9));
    settings.retry = Retry::Naive;
    let report = run(settings).await.unwrap();
    assert_eq!(report.attempts, 36);
}

#[tokio::test]
async fn it_changes_while_it_runs_and_explains_mistakes() {
    let address = origin(quick()).await;
    assert!(
        ask(address, "POST /.lab/set?workers=2&mean=5ms&dist=exp&delay=1ms")
            .await
            .starts_with("HTTP/1.1 200")
    );
    for (wrong, word) in [("workers=0", "from 1"), ("mean=5", "unit"), ("speed=3", "dist= or delay=")] {
        let answer = ask(address, &format!("POST /.lab/set?{wrong}")).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(word), "{answer}");
    }
    assert_eq!(ask(address, "GET /").await.lines().next(), Some("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_closed_loop_sends_no_more_than_it_has_clients() {
    let mut two = quick();
    two.workers = 2;
    let address = origin(two).await;
    let mut settings = load(address);
    settings.crowd = Crowd::Closed { clients: 4 };
    let run = Run::prepare(settings).await.unwrap();
    let live = run.live();
    let report = run.send().await;
    assert_eq!((report.offered, report.ok), (report.attempts, report.attempts));
    assert_eq!(live.seconds(), report.seconds);
    assert_eq!((stat(address, "served").await, stat(address, "peak").await), (report.ok, 4));
    // No service time is lost or invented: what the workers gave is what the answers cost.
    assert_eq!(stat(address, "busy_ns").await, report.ok * 1_000_000);
    assert!(stat(address, "elapsed_ns").await * 2 >= stat(address, "busy_ns").await);
}

#[tokio::test]
async fn clients_that_leave_during_the_delay_are_work_for_nobody() {
    let delay = Duration::from_secs(3);
    let mut late = quick();
    (late.workers, late.delay) = (1, delay);
    let address = origin(late).await;
    // Late enough that a busy machine has brought the request to the origin, and well before the delay is over.
    let mut settings = load(address);
    (settings.leave, settings.crowd) = (Some("100%@1s".parse().unwrap()), constant("20"));
    let report = run(settings).await.unwrap();
    assert_eq!((report.offered, report.left), (19, 19));
    while stat(address, "served_gone").await < 19 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stat(address, "gone_ns").await, 19_000_000);
}

#[tokio::test]
async fn a_target_that_cannot_be_used_is_explained() {
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let mut settings = load(address);
    settings.target = "https://localhost/".parse().unwrap();
    assert!(run(settings).await.unwrap_err().to_string().contains("http://HOST:PORT/PATH"));
}
