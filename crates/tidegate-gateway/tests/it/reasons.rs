//! Every reason that is documented can be met, and no other.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate::Reason;
use tokio::time::sleep;

use crate::stand::{Stand, eventually, get};
use crate::wire::Wire;

pub(crate) fn refused(stand: &Stand, reason: &str) -> f64 {
    stand.metric(&format!("tidegate_refused_total{{reason=\"{reason}\"}}"))
}

/// Takes the one place.
async fn full(stand: &Stand) -> Wire {
    let mut wire = stand.connect().await;
    wire.send(get("/hold")).await;
    eventually("the limit is taken", || stand.origin.now() == 1).await;
    wire
}

async fn ask(stand: &Stand, path: &str, fields: &str) -> Wire {
    let mut wire = stand.connect().await;
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    wire
}

#[tokio::test]
async fn who_matters_less_is_displaced_from_a_full_queue() {
    let stand = Stand::new("limit = 1\nmax-queue = 1").await;
    let mut first = full(&stand).await;
    let mut low = ask(&stand, "/low", "Sec-Purpose: prefetch\r\n").await;
    eventually("it waits", || stand.waiting() == 1).await;
    let mut middle = ask(&stand, "/middle", "Priority: u=7\r\n").await;
    let answer = low.answer().await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "displaced"));
    assert!(answer.problem()["retry_after_ms"].as_u64().unwrap() > 0);
    let mut high = ask(&stand, "/high", "").await;
    assert_eq!(middle.answer().await.reason(), "displaced");
    assert_eq!(stand.get("/other").await.reason(), "queue_full", "nobody is displaced by an equal");
    assert_eq!(refused(&stand, "displaced"), 2.0);
    stand.origin.release(1);
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(high.answer().await.status, 200);
    stand.is_whole(1).await;
    assert!(stand.origin.seen().iter().all(|seen| matches!(seen.target.as_str(), "/hold" | "/high")));
}

#[tokio::test]
async fn who_would_wait_too_long_hears_it_at_the_door() {
    let stand = Stand::new("limit = 1\nmax-wait = '500ms'").await;
    let mut held = vec![full(&stand).await];
    // One goes while three come: soon enough the line is longer than the wait may be.
    for _ in 0..100 {
        for _ in 0..3 {
            held.push(ask(&stand, "/hold", "").await);
        }
        sleep(Duration::from_millis(10)).await;
        stand.origin.release(1);
        if refused(&stand, "wait_too_long") > 0.0 {
            break;
        }
    }
    let mut told = 0.0;
    stand.origin.release(400);
    for wire in &mut held {
        let answer = wire.answer().await;
        if answer.status == 503 && answer.reason() == "wait_too_long" {
            told += 1.0;
            let problem = answer.problem();
            assert!(problem["predicted_wait_ms"].as_u64().unwrap() >= 500, "{problem}");
            assert!(problem["retry_after_ms"].as_u64().unwrap() > 500, "{problem}");
        }
    }
    assert!(told > 0.0);
    assert_eq!(refused(&stand, "wait_too_long"), told);
}

#[tokio::test]
async fn who_still_waits_at_the_end_of_a_drain_gets_an_answer() {
    let mut stand = Stand::new("limit = 1\ndrain = '2s'").await;
    let first = full(&stand).await;
    let mut waits = ask(&stand, "/waits", "").await;
    eventually("it waits", || stand.waiting() == 1).await;
    stand.shutdown.drain();
    let answer = waits.answer().await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "draining"));
    assert_eq!((answer.header("connection"), stand.waiting()), ("close", 0));
    assert_eq!((refused(&stand, "draining"), stand.metric("tidegate_canceled_total")), (1.0, 0.0));
    assert!(!stand.end().await, "the one at the origin is cut off");
    assert_eq!(stand.origin.count(), 1);
    drop(first);
}

#[test]
fn the_documents_say_which_reasons_are_given() {
    let metrics = include_str!("../../../../docs/metrics.md");
    let semantics = include_str!("../../../../docs/http-semantics.md");
    let (listed, never) = metrics.split_once("Nothing gives ").unwrap();
    let never: BTreeSet<_> = never.split("yet").next().unwrap().split('`').skip(1).step_by(2).collect();
    for reason in Reason::ALL.map(Reason::name) {
        assert!(listed.contains(&format!("`{reason}`")), "{reason} is not listed");
        let given = semantics.contains(&format!("| `{reason}` |"));
        assert_eq!(given, !never.contains(reason), "{reason}");
    }
}
