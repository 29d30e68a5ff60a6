//! What leaves the limiter: upgrades and endless answers.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use crate::script::Script;
use crate::stand::{Stand, eventually, get};

const SHOUT: &str = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\nSec-WebSocket-Key: x\r\n\r\n";

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_and_needs_no_permit() {
    let stand = Stand::new("limit = 1\nidle-timeout = '1s'\nhead-timeout = '1s'").await;
    let mut wire = stand.connect().await;
    // The first bytes of the new protocol come with the request.
    wire.send(format!("{SHOUT}early")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("upgrade")), (101, "shout"));
    assert_eq!(answer.header("connection"), "upgrade");
    assert_eq!(wire.bytes(5).await, b"EARLY");
    assert_eq!(stand.get("/hello").await.status, 200);
    assert_eq!((stand.metric("tidegate_streams"), stand.metric("tidegate_upgrades_total")), (1.0, 1.0));
    // Silence is normal here, and no byte of it may be lost.
    for pause in [0, 2500] {
        sleep(Duration::from_millis(pause)).await;
        for _ in 0..50 {
            wire.send("\r\nping").await;
            assert_eq!(wire.bytes(6).await, b"\r\nPING");
        }
    }
    // A closed half is passed on, and what comes back still arrives.
    wire.send("bye").await;
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.rest().await, b"BYE");
    eventually("the tunnel is over", || stand.metric("tidegate_streams") == 0.0).await;
    let seen = stand.origin.seen();
    assert_eq!((seen[0].header("upgrade"), seen[0].header("connection")), ("shout", "upgrade"));
    assert_eq!(seen[0].header("sec-websocket-key"), "x");
    stand.is_whole(1).await;
}

#[tokio::test]
async fn an_upgrade_that_is_not_granted_ends_the_connection() {
    let stand = Stand::new("").await;
    let mut wire = stand.connect().await;
    // What follows could be anything now, so it is not read as requests.
    wire.send(format!("{}{}", SHOUT.replace("/upgrade", "/hello"), get("/smuggled"))).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(wire.answer_or_end().await.is_none());
    assert_eq!(stand.origin.count(), 1);
}

#[tokio::test]
async fn http2_in_clear_is_not_an_upgrade() {
    let stand = Stand::new("").await;
    for list in ["h2c", "h2c, shout", "shout, H2C", "shout\r\nUpgrade: h2c"] {
        let mut wire = stand.connect().await;
        wire.send(SHOUT.replace("Upgrade: shout", &format!("Upgrade: {list}")).replace("/upgrade", "/hello"))
            .await;
        assert_eq!(wire.answer().await.status, 200);
        assert_eq!(stand.origin.last().header("upgrade"), "", "{list}");
    }
    // One field says so and another does not: nothing may pass unseen after it.
    for fields in ["Upgrade: h2c\r\nUpgrade: x", "Upgrade: x\r\nUpgrade: h2c"] {
        let before = stand.origin.count();
        let mut wire = stand.connect().await;
        let bad = "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        wire.send(format!("GET /hello HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{bad}")).await;
        assert_eq!(wire.answer().await.header("connection"), "close");
        assert!(wire.answer_or_end().await.is_none());
        assert_eq!(stand.origin.count(), before + 1);
    }
}

#[tokio::test]
async fn server_sent_events_leave_the_limiter() {
    let stand = Stand::new("limit = 1\nmax-streams = 2").await;
    let mut listeners = Vec::new();
    for _ in 0..2 {
        let mut wire = stand.connect().await;
        wire.send(get("/events")).await;
        assert_eq!(wire.head().await.unwrap().0, 200);
        assert!(wire.bytes(40).await.windows(10).any(|part| part == b"data: tick"));
        listeners.push(wire);
    }
    assert_eq!(stand.get("/hello").await.status, 200);
    assert_eq!(stand.metric("tidegate_streams"), 2.0);
    let third = stand.get("/events").await;
    assert_eq!((third.status, third.reason().as_str()), (503, "connections"));
    assert!(third.problem()["detail"].to_string().contains("streams"), "{third:?}");
    assert_ne!(third.header("retry-after"), "");
    drop(listeners);
    eventually("the listeners are gone", || stand.metric("tidegate_streams") == 0.0).await;
    stand.is_whole(1).await;
}

#[tokio::test]
async fn an_origin_that_changes_the_protocol_unasked_is_not_believed() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1").await;
    let mut client = stand.connect().await;
    client.send(get("/")).await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    origin.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbytes").await;
    assert_eq!(client.answer().await.status, 502);
    eventually("the permit is back", || stand.in_flight() == 0).await;
}
