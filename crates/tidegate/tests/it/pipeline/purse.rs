//! Pipelines on a budget: they hold what they need, go on with little, and give everything back.

use std::time::Duration;

use tidegate::budget::Budget;
use tidegate::pipeline::{Bottleneck, Pipeline, Plan, Running, Stage};

use super::flow::balances;
use super::storm::{RESERVES, shape};

const MS: Duration = Duration::from_millis(1);

/// Ten at a time, a thousand bytes each, as long as there are bytes.
fn wide(items: u64) -> Plan {
    Pipeline::from_iter(Stage::new("source").max_item(64), 0..items)
        .map(Stage::new("wide").concurrency(10).max_item(1000), |number| async move {
            tokio::time::sleep(10 * MS).await;
            Ok(number)
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) })
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_with_its_reserve_and_takes_more_when_there_is_more() {
    let budget = Budget::new("process", 100_000);
    let rest = budget.try_lease(100_000 - 1064).unwrap();
    let running = wide(u64::MAX).budget(&budget).run().unwrap();
    tokio::time::sleep(1000 * MS).await;
    let slow = running.snapshot();
    assert!((90..=110).contains(&slow.delivered()), "one at a time: {slow:?}");
    assert_eq!(budget.used(), 100_000);
    assert_eq!(slow.bottleneck(), Some(Bottleneck::Budget("source".into())));

    drop(rest);
    tokio::time::sleep(1000 * MS).await;
    let fast = running.snapshot().delivered() - slow.delivered();
    assert!(fast > 900, "ten at a time: {fast}");
    assert!(budget.used() < 30_000, "what it could use, and little more: {}", budget.used());

    running.stop();
    balances(&running.finish().await.unwrap());
    assert_eq!((budget.used(), budget.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_bytes_for_the_reserves_it_is_refused() {
    let budget = Budget::new("process", 2000);
    let rest = budget.try_lease(937).unwrap();
    let error = wide(1).budget(&budget).run().unwrap_err();
    assert!(error.refusal().unwrap().ever && error.to_string().contains("largest items"), "{error}");
    drop(rest);
    wide(1).budget(&budget).run().unwrap().finish().await.unwrap();
    assert!(!wide(1).budget(&Budget::new("small", 1000)).run().unwrap_err().refusal().unwrap().ever);
    assert_eq!(budget.used(), 0);
}

/// The budget is smaller than what the pipeline would have by itself: it asks in vain, and gets through.
#[tokio::test(start_paused = true)]
async fn a_budget_that_never_has_more_is_enough() {
    let budget = Budget::new("process", 1064 + 500);
    balances(&wide(50).budget(&budget).run().unwrap().finish().await.unwrap());
    assert_eq!((budget.used(), budget.waiting()), (0, 0));
}

/// Those that run already may have taken what the next one needs to begin; it comes back when they are done.
async fn begin(plan: impl Fn() -> Plan) -> Running {
    loop {
        match plan().run() {
            Ok(running) => return running,
            Err(error) => assert!(error.refusal().is_some_and(|full| full.ever), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_on_one_budget_come_through_and_leave_nothing() {
    let budget = Budget::new("process", 4 * RESERVES + 1000);
    let mut all = Vec::new();
    for _ in 0..4 {
        let running = begin(|| shape(1500, 3, false).budget(&budget).bytes(RESERVES + 2000)).await;
        all.push(running);
    }
    for running in &all {
        let finished = tokio::time::timeout(Duration::from_secs(60), running.finish()).await;
        balances(&finished.unwrap_or_else(|_| panic!("stuck: {:#?}", running.snapshot())).unwrap());
    }
    assert!(budget.peak() <= 4 * RESERVES + 1000);
    assert_eq!((budget.used(), budget.waiting()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborts_at_random_moments_give_every_byte_back() {
    let budget = Budget::new("process", 2 * RESERVES + 700);
    for round in 0..150_u64 {
        let other = begin(|| shape(u64::MAX, 2, true).budget(&budget).bytes(RESERVES + 500)).await;
        let running = begin(|| shape(u64::MAX, 3, true).budget(&budget).bytes(RESERVES + 500)).await;
        tokio::time::sleep(Duration::from_micros(round * 11)).await;
        let (ended, others) = tokio::join!(running.abort(), other.drain(Duration::from_micros(round)));
        balances(&ended.snapshot);
        balances(&others.snapshot);
        assert_eq!((budget.used(), budget.waiting()), (0, 0), "round {round}");
    }
}
