//! Clients that leave.

use crate::stand::{Stand, eventually, get, post};

#[tokio::test]
async fn who_leaves_the_queue_is_never_seen_by_the_origin() {
    let stand = Stand::new("limit = 1").await;
    let mut first = stand.connect().await;
    first.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    let unread = format!(
        "POST /gone HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "1\r\nx\r\n".repeat(50_000)
    );
    for request in [get("/gone"), post("/gone", "read ahead"), unread[..100_000].to_owned()] {
        let mut wire = stand.connect().await;
        wire.send(&request).await;
        eventually("it waits", || stand.waiting() == 1).await;
        drop(wire);
        eventually("it has left", || stand.waiting() == 0).await;
    }
    assert_eq!(stand.metric("tidegate_clients_left_total{stage=\"waiting\"}"), 3.0);
    stand.origin.release(1);
    assert_eq!(first.answer().await.status, 200);
    stand.is_whole(1).await;
    assert!(stand.origin.seen().iter().all(|seen| seen.target == "/hold"));
}
