//! Figures that must have a value of their own, not only move.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tidegate_gateway::observe::{AccessLog, LogFormat};
use tokio::time::sleep;

use crate::admin::Lines;
use crate::stand::{Stand, eventually, get};

#[tokio::test]
async fn bounds_are_those_that_were_asked_for() {
    let stand = Stand::new("limit = 3\nmax-queue = 7\nmax-connections = 9").await;
    for (name, bound) in [("limit", 3.0), ("queue_capacity", 7.0), ("connections_limit", 9.0)] {
        assert_eq!(stand.metric(&format!("tidegate_{name}")), bound, "{name}");
    }
    let status = stand.gateway.status();
    assert_eq!((status.limit, status.queue_capacity, status.connections_limit), (3, 7, 9));
}

#[tokio::test]
async fn answers_are_counted_by_their_own_class() {
    let stand = Stand::new("limit = 2").await;
    let mut tunnel = stand.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(tunnel.answer().await.status, 101);
    // So many of each class, all different.
    for (status, times) in [(204, 2), (302, 3), (404, 4), (500, 5)] {
        for _ in 0..times {
            assert_eq!(stand.get(&format!("/status/{status}")).await.status, status);
        }
    }
    for (class, times) in [("1xx", 1.0), ("2xx", 2.0), ("3xx", 3.0), ("4xx", 4.0), ("5xx", 5.0)] {
        assert_eq!(
            stand.metric(&format!("tidegate_responses_total{{status=\"{class}\"}}")),
            times,
            "{class}"
        );
    }
    assert_eq!(stand.metric("tidegate_requests_total"), 15.0);
}

#[tokio::test]
async fn the_log_says_how_long_was_waited() {
    let (lines, written) = sync_channel(100);
    let stand = Stand::logged("limit = 1", AccessLog::new(LogFormat::Json, Lines(lines))).await;
    let (mut first, mut second) = (stand.connect().await, stand.connect().await);
    first.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    second.send(get("/waits")).await;
    eventually("one waits", || stand.waiting() == 1).await;
    sleep(Duration::from_millis(30)).await;
    stand.origin.release(1);
    assert_eq!((first.answer().await.status, second.answer().await.status), (200, 200));
    let mut text = String::new();
    eventually("two lines", || {
        text.extend(written.try_iter().map(|bytes| String::from_utf8(bytes).unwrap()));
        text.lines().count() == 2
    })
    .await;
    for line in text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let millis = |name: &str| line[name].as_f64().unwrap();
        let least = if line["path"] == "/waits" { 29.0 } else { 0.0 };
        assert!(millis("waited_ms") >= least, "{line}");
        assert!(line["path"] == "/waits" || millis("waited_ms") == 0.0, "{line}");
        assert!(millis("total_ms") >= millis("waited_ms"), "{line}");
    }
}
