//! What operators see, and the end.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::sync_channel;

use tidegate_gateway::observe::{AccessLog, LogFormat};
use tokio::task::JoinSet;

use crate::stand::{Stand, bounded, eventually, get, post};
use crate::wire::Wire;
use crate::wire2::{Wire2, get2, whole};

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

/// Name and type of every metric in the document's table.
fn documented() -> BTreeMap<String, String> {
    DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `tidegate_"))
        .map(|line| {
            let (name, rest) = line.split_once('`').unwrap();
            let kind = rest.split('|').nth(1).unwrap().trim();
            (format!("tidegate_{}", name.split('{').next().unwrap()), kind.to_owned())
        })
        .collect()
}

fn families(scrape: &str) -> BTreeMap<String, String> {
    scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            (if kind == "counter" { format!("{name}_total") } else { name.to_owned() }, kind.to_owned())
        })
        .collect()
}

/// Every sample but the buckets of histograms.
fn samples(scrape: &str) -> BTreeMap<String, f64> {
    scrape
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket"))
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// So many clients that ask again and again, until this is dropped.
fn crowd(stand: &Stand, size: usize, request: String) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for _ in 0..size {
        let (address, request) = (stand.address, request.clone());
        crowd.spawn(async move {
            let mut wire = Wire::connect(address).await;
            loop {
                wire.send(&request).await;
                wire.answer().await;
            }
        });
    }
    crowd
}

#[tokio::test]
async fn every_metric_is_documented_and_moves() {
    let stand = Stand::logged(
        "limit = 1\nmax-queue = 8\nbypass = ['/healthz']",
        AccessLog::new(LogFormat::Json, Full),
    )
    .await;
    let page = stand.admin("/metrics").await;
    assert!(page.header("content-type").starts_with("application/openmetrics-text"));
    assert!(page.text().ends_with("# EOF\n"));
    assert_eq!(families(&page.text()), documented());
    let before = samples(&page.text());
    let mut moved = BTreeMap::new();
    let mut look = || {
        for (name, value) in samples(&stand.gateway.scrape()) {
            if before.get(&name) != Some(&value) {
                moved.insert(name.split('{').next().unwrap().to_owned(), value);
            }
        }
    };
    let mut tunnel = stand.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(tunnel.answer().await.status, 101);
    assert_eq!(stand.get("/healthz").await.status, 200);
    assert_eq!(stand.get("/hello").await.status, 200);
    // Some that have to wait for a while, so that predictions can be made and held to what came; some are refused.
    let crowd = crowd(&stand, 12, post("/echo", "body"));
    eventually("waits are predicted", || {
        look();
        stand.metric("tidegate_wait_coverage_ratio") > 0.0 && stand.metric("tidegate_queue_bytes") > 0.0
    })
    .await;
    drop(crowd);
    eventually("the crowd has gone", || stand.in_flight() == 0 && stand.waiting() == 0).await;
    let mut one = stand.connect().await;
    one.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    let mut two = stand.connect().await;
    two.send(get("/gone")).await;
    eventually("one waits", || stand.waiting() == 1).await;
    drop(two);
    eventually("it has left", || stand.waiting() == 0).await;
    drop(one);
    eventually("the work goes on", || stand.metric("tidegate_lingering") == 1.0).await;
    look();
    // Bounds do not move; these are moved in tests of their own.
    let elsewhere = [
        "tidegate_limit",
        "tidegate_load_reports_total",
        "tidegate_queue_capacity",
        "tidegate_connections_limit",
        "tidegate_memory_limit_bytes",
        "tidegate_memory_fixed_bytes",
        "tidegate_memory_refused_total",
        "tidegate_memory_parked",
        "tidegate_memory_displaced_total",
        "tidegate_expired_total",
        "tidegate_would_refuse_total",
        "tidegate_origin_dials_failed_total",
        "tidegate_origin_repeats_total",
    ];
    eventually("log lines are lost", || {
        stand.metric("tidegate_log_lines_lost_total") > 0.0 || stand.in_flight() > 9
    })
    .await;
    look();
    for (name, kind) in documented() {
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
        assert!(
            moved.contains_key(&sample) || elsewhere.contains(&name.as_str()),
            "{name} never moved: {moved:?}"
        );
    }
    stand.origin.release(1);
}

#[tokio::test]
async fn an_adaptive_limit_moves_and_says_why() {
    let stand = Stand::new("").await;
    let first = stand.admin("/status").await;
    assert_eq!(first.header("content-type"), "application/json");
    let status: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    for field in [
        "origin",
        "state",
        "limit",
        "in_flight",
        "waiting",
        "predicted_wait_p50_ms",
        "predicted_wait_p90_ms",
        "drain_rate",
        "refused",
        "coverage",
        "connections",
        "why",
    ] {
        assert!(status.get(field).is_some(), "{field}: {status}");
    }
    assert_eq!((&status["state"], &status["dry_run"]), (&"running".into(), &false.into()));
    assert!(status["why"]["algorithm"].is_string() && status["why"]["phase"].is_string());
    let limit = stand.metric("tidegate_limit");
    let _crowd = crowd(&stand, 100, get("/hello"));
    eventually("the limit moves", || stand.metric("tidegate_limit") != limit).await;
}

#[tokio::test]
async fn pages_are_where_they_belong() {
    let stand = Stand::new("probe = '127.0.0.1:0'\nlimit = 1\nmax-queue = 0").await;
    assert_eq!(stand.admin("/healthz").await.text(), "ok\n");
    assert_eq!(stand.admin("/ready").await.text(), "ready\n");
    assert_eq!(stand.admin("/").await.status, 404);
    let mut wire = Wire::connect(stand.admin).await;
    wire.send(post("/metrics", "")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    for (path, status) in
        [("/ready", 200), ("/healthz", 200), ("/metrics", 404), ("/status", 404), ("/", 404)]
    {
        let mut wire = Wire::connect(stand.probe.unwrap()).await;
        wire.send(get(path)).await;
        assert_eq!(wire.answer().await.status, status, "{path}");
    }
    let mut held = stand.connect().await;
    held.send(get("/hold")).await;
    eventually("it is full", || stand.in_flight() == 1 && stand.origin.now() == 1).await;
    assert_eq!(stand.admin("/ready").await.status, 200);
    assert_eq!(stand.admin("/ready?saturated").await.status, 503);
    stand.origin.release(1);
    assert_eq!(held.answer().await.status, 200);
    assert_eq!(stand.admin("/ready?saturated").await.status, 200);
    // Nothing of this is on the clients' side.
    assert_eq!(stand.get("/metrics").await.text(), "hello");
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun() {
    let mut stand = Stand::new("limit = 2").await;
    let (mut one, mut waits, mut idle) =
        (stand.connect().await, stand.connect().await, stand.connect().await);
    idle.send(get("/hello")).await;
    assert_eq!(idle.answer().await.status, 200);
    one.send(get("/hold")).await;
    eventually("one is there", || stand.origin.now() == 1).await;
    let mut client = Wire2::connect(stand.address).await;
    let (two, _) = client.begin(get2("/hold"), true).await;
    eventually("both are there", || stand.origin.now() == 2).await;
    waits.send(get("/queued")).await;
    eventually("one waits", || stand.waiting() == 1).await;
    stand.shutdown.drain();
    assert_eq!(stand.admin("/ready").await.status, 503);
    assert_eq!(stand.admin("/healthz").await.status, 200);
    let status: serde_json::Value = serde_json::from_slice(&stand.admin("/status").await.body).unwrap();
    assert_eq!(status["state"], "draining");
    assert!(idle.answer_or_end().await.is_none(), "an idle connection is closed");
    assert!(tokio::net::TcpStream::connect(stand.address).await.is_err(), "nobody listens any more");
    stand.origin.release(2);
    let answer = one.answer().await;
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("held", "close"));
    assert_eq!(whole(two).await.unwrap().body, b"held");
    let answer = waits.answer().await;
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("hello", "close"));
    // GOAWAY, without an error.
    assert!(bounded("GOAWAY", client.connection).await.unwrap().is_ok());
    drop((one, waits, idle));
    assert!(stand.end().await);
}

#[tokio::test]
async fn a_drain_ends_in_time_and_at_once_when_asked_twice() {
    let mut stand = Stand::new("limit = 2\ndrain = '100ms'").await;
    let mut held = stand.connect().await;
    held.send(get("/hold")).await;
    eventually("one is there", || stand.origin.now() == 1).await;
    assert!(!stand.end().await);
    assert!(held.answer_or_end().await.is_none());
    let mut stand = Stand::new("limit = 2").await;
    let mut held = stand.connect().await;
    held.send(get("/hold")).await;
    eventually("one is there", || stand.origin.now() == 1).await;
    stand.shutdown.abort();
    stand.end().await;
    assert!(held.answer_or_end().await.is_none());
}

/// Passes on what is written.
pub(crate) struct Lines(pub(crate) std::sync::mpsc::SyncSender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.try_send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_request_has_its_line_in_the_log() {
    let (lines, written) = sync_channel(100);
    let stand =
        Stand::logged("limit = 1\nmax-queue = 0", AccessLog::new(LogFormat::Json, Lines(lines))).await;
    assert_eq!(stand.get("/hello?secret=1").await.status, 200);
    let mut held = stand.connect().await;
    held.send(get("/hold")).await;
    eventually("it is full", || stand.in_flight() == 1 && stand.origin.now() == 1).await;
    assert_eq!(stand.get("/refused").await.status, 503);
    drop(held);
    let mut text = String::new();
    eventually("three lines", || {
        text.extend(written.try_iter().map(|bytes| String::from_utf8(bytes).unwrap()));
        text.lines().count() == 3
    })
    .await;
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["path"], &lines[0]["status"], &lines[0]["class"]),
        (&"/hello".into(), &200.into(), &"critical".into())
    );
    assert!(lines[0]["origin_ms"].as_f64().unwrap() > 0.0);
    assert_eq!((&lines[1]["status"], &lines[1]["reason"]), (&503.into(), &"queue_full".into()));
    assert_eq!((&lines[2]["status"], &lines[2]["reason"]), (&499.into(), &"origin".into()));
}
