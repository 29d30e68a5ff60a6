//! Connections that keep something and give nothing.

use tidegate_lab::attack::Attack;
use tokio::time::timeout;

use super::stand::{BOUND, MOST, Stand, eventually, mib};

/// C 11: settings that are never acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_without_acknowledgement_end_the_connection() {
    let stand = Stand::new(&[]).await;
    let before = stand.charged().await;
    let mut crowd = stand.attack(Attack::Unacknowledged, &stand.plan("/", 100, 1)).await;
    eventually("they are there, and charged until they are gone", async || {
        let (charged, there) = (stand.charged().await, stand.metric("tidegate_connections").await);
        // The first may be gone before the last have come.
        charged > before && there + crowd.report().ended as f64 >= 100.0
    })
    .await;
    // Ten seconds, and whatever a busy machine needs.
    let ended = timeout(BOUND, crowd.ended()).await;
    assert!(ended.is_ok(), "{:?}", crowd.report());
    stand.is_left().await;
    stand.is_even(before).await;
}

/// Connections that do nothing are many, and small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_leave_room_for_others() {
    // Longer than a busy machine needs for those that have come before.
    let stand = Stand::new(&["--max-wait", "10m", "--client-timeout", "1h"]).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        let mut tcp = tokio::net::TcpStream::connect(stand.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        idle.push(tcp);
    }
    assert!(stand.get("/").await.starts_with("HTTP/1.1 200 "));
    let peak = stand.resident();
    assert!(peak <= MOST, "{} MiB", mib(peak));
}

/// What a connection has needed once it does not keep: an idle one is small, whatever it sent before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_small_after_long_heads_and_uploads() {
    const EACH: u64 = 200;
    let stand = Stand::new(&[]).await;
    let fields = format!("X: {}\r\n", "x".repeat(300)).repeat(90);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let upload =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000));
    for request in [long, upload] {
        let before = stand.resident();
        let mut idle = Vec::new();
        for _ in 0..EACH {
            let mut tcp = tokio::net::TcpStream::connect(stand.address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut tcp, request.as_bytes()).await.unwrap();
            let mut status = [0; 12];
            tokio::io::AsyncReadExt::read_exact(&mut tcp, &mut status).await.unwrap();
            assert_eq!(&status, b"HTTP/1.1 200");
            idle.push(tcp);
        }
        eventually("they are idle", async || stand.metric("tidegate_in_flight").await == 0.0).await;
        let mut each = 0;
        eventually("what they needed is back", async || {
            each = stand.resident().saturating_sub(before) / EACH;
            each <= 32 * 1024
        })
        .await;
        drop(idle);
        stand.is_left().await;
    }
}
