//! What those hear who cannot be admitted.

use crate::stand::{Stand, eventually, get, post};
use crate::wire::Wire;

async fn full(stand: &Stand) -> Wire {
    let mut wire = stand.connect().await;
    wire.send(get("/hold")).await;
    eventually("the limit is taken", || stand.origin.now() == 1).await;
    wire
}

#[tokio::test]
async fn a_full_queue_says_so_and_when_to_come_back() {
    let stand = Stand::new("limit = 1\nmax-queue = 0").await;
    let mut first = full(&stand).await;
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
        wire.send(post("/c", "body")).await;
        assert_eq!(wire.answer().await.status, 503);
    }
    assert_eq!(stand.origin.count(), 1);
    assert_eq!(stand.metric("tidegate_refused_total{reason=\"queue_full\"}"), 5.0);
    stand.origin.release(1);
    assert_eq!(first.answer().await.status, 200);
    stand.is_whole(1).await;
}
