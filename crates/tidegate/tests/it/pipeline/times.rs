//! Deadlines, shares of time, the bottleneck.

use std::time::Duration;

use tidegate::pipeline::{Bottleneck, Pipeline, Stage};

use super::flow::balances;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn what_is_late_is_dropped_and_the_source_holds_back() {
    // 10 ms for each; 40 of the 64 bytes-places before it would take 400 ms.
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0_u64..)
        .map(Stage::new("pass").max_item(64), |number| async move { Ok(number) })
        .sink(Stage::new("slow").in_bytes(40 * 64), |_| async {
            tokio::time::sleep(10 * MS).await;
            Ok(())
        })
        .deadline(105 * MS);
    let running = plan.run().unwrap();
    tokio::time::sleep(10_000 * MS).await;
    let ended = running.drain(Duration::from_secs(10)).await;
    balances(&ended.snapshot);
    let slow = ended.snapshot.stage("slow").unwrap().ledger;
    assert!(slow.expired > 0, "{slow:?}");
    assert_eq!(slow.passed + slow.expired, slow.taken);
    // A hundred a second are worked on. Without holding back, as many as can be made would be made in vain.
    assert!(slow.passed > 900 && slow.expired < 300, "{slow:?}");
}

async fn shares_of(source: Duration, middle: Duration, end: Duration, bytes: u64) -> Option<Bottleneck> {
    let plan = Pipeline::from_fn(Stage::new("source").max_item(100), move || async move {
        tokio::time::sleep(source).await;
        Ok(Some(1_u64))
    })
    .map(Stage::new("middle").concurrency(2).max_item(100), move |number| async move {
        tokio::time::sleep(middle).await;
        Ok(number)
    })
    .sink(Stage::new("end").concurrency(2).in_bytes(1000), move |_| async move {
        tokio::time::sleep(end).await;
        Ok(())
    })
    .bytes(bytes);
    let running = plan.run().unwrap();
    tokio::time::sleep(1000 * MS).await;
    let early = running.snapshot();
    tokio::time::sleep(1000 * MS).await;
    let late = running.snapshot().since(&early);
    for stage in &late.stages {
        let shares = stage.shares();
        let sum = shares.busy + shares.starved + shares.blocked_on_output + shares.blocked_on_budget;
        assert!((sum - 1.0).abs() < 1e-9, "{shares:?}");
    }
    balances(&running.abort().await.snapshot);
    late.bottleneck()
}

#[tokio::test(start_paused = true)]
async fn the_bottleneck_is_found() {
    let stage = |name: &str| Some(Bottleneck::Stage(name.into()));
    assert_eq!(shares_of(10 * MS, 2 * MS, 2 * MS, 10_000).await, stage("source"));
    assert_eq!(shares_of(2 * MS, 40 * MS, 2 * MS, 10_000).await, stage("middle"));
    assert_eq!(shares_of(2 * MS, 4 * MS, 40 * MS, 10_000).await, stage("end"));
}

/// With bytes for one item only, the second worker of a stage waits for bytes most of the time.
#[tokio::test(start_paused = true)]
async fn a_budget_that_is_too_small_is_seen() {
    let plan = Pipeline::from_iter(Stage::new("source").max_item(64), 0_u64..)
        .map(Stage::new("wide").concurrency(10).max_item(1000), |number| async move {
            tokio::time::sleep(MS).await;
            Ok(number)
        })
        .sink(Stage::new("end"), |_| async { Ok(()) })
        .bytes(64 * 12 + 1000);
    let running = plan.run().unwrap();
    tokio::time::sleep(1000 * MS).await;
    let snapshot = running.snapshot();
    let shares = snapshot.stage("wide").unwrap().shares();
    assert!(shares.blocked_on_budget > 0.5 && shares.busy < 0.2, "{shares:?}");
    assert_eq!(snapshot.bottleneck(), Some(Bottleneck::Budget("wide".into())));
    balances(&running.abort().await.snapshot);
}
