//! Drained, aborted, dropped: what comes back, and what is over then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tidegate::pipeline::{Pipeline, Stage};

use super::flow::balances;

#[tokio::test(start_paused = true)]
async fn a_drain_brings_what_is_under_way_through() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0_u64..)
        .map(Stage::new("slow").concurrency(4), |number| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(number)
        })
        .batch(Stage::new("batch"), 1000)
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let running = plan.run().unwrap();
    tokio::time::sleep(Duration::from_millis(95)).await;
    let ended = running.drain(Duration::from_secs(1)).await;
    assert!(ended.in_time && ended.left.is_empty() && ended.failure.is_none());
    balances(&ended.snapshot);
    let asked = ended.snapshot.asked();
    assert!((36..=42).contains(&asked), "{asked}");
    assert_eq!(ended.snapshot.stage("batch").unwrap().ledger.passed, asked);
    assert_eq!(ended.snapshot.delivered(), 1, "the batch that was not full is not lost");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_too_short_gives_back_what_is_left() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0_u32..)
        .map(Stage::new("pass").max_item(64), |number| async move { Ok(u64::from(number)) })
        .sink(Stage::new("stuck").in_bytes(640).concurrency(2), |_| std::future::pending());
    let running = plan.run().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut ended = running.drain(Duration::from_secs(1)).await;
    assert!(!ended.in_time);
    balances(&ended.snapshot);
    let left: Vec<u64> = ended.take("stuck");
    assert!(ended.take::<u64>("stuck").is_empty());
    let stuck = ended.snapshot.stage("stuck").unwrap().ledger;
    assert_eq!((stuck.taken, stuck.interrupted, stuck.left), (2, 2, left.len() as u64));
    assert!(left.into_iter().eq(2..2 + stuck.left));
    let ledger = ended.snapshot.stage("pass").unwrap().ledger;
    let waited: Vec<u32> = ended.take("pass");
    assert!(!waited.is_empty() && ended.left.is_empty());
    assert_eq!(ended.snapshot.asked(), ledger.taken + waited.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_waits_for_the_outside_does_not_hold_a_drain_up() {
    let plan = Pipeline::from_fn(Stage::new("silent"), std::future::pending::<Result<Option<u8>, _>>)
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let ended = plan.run().unwrap().drain(Duration::from_secs(5)).await;
    assert!(ended.in_time);
}

/// Work on a thread keeps what it holds until it really ends, and the pipeline has not ended before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_work_is_waited_for() {
    let (gate, running_now) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (open, count) = (Arc::clone(&gate), Arc::clone(&running_now));
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0_u64..)
        .map_blocking(Stage::new("block").concurrency(2).max_item(1000), move |number| {
            count.fetch_add(1, SeqCst);
            while !open.load(SeqCst) {
                std::thread::yield_now();
            }
            count.fetch_sub(1, SeqCst);
            Ok(number)
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let running = plan.run().unwrap();
    while running_now.load(SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let mut abort = std::pin::pin!(running.abort());
    let early = tokio::time::timeout(Duration::from_millis(50), abort.as_mut()).await;
    assert!(early.is_err() && !running.has_ended());
    // Two inputs of 64 and room for two results of 1000; what waited may be gone.
    assert!(running.snapshot().held >= 2 * 1064, "{:?}", running.snapshot());
    gate.store(true, SeqCst);
    let ended = abort.await;
    assert_eq!(running_now.load(SeqCst), 0);
    balances(&ended.snapshot);
    assert_eq!(ended.snapshot.stage("block").unwrap().ledger.interrupted, 2);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_aborts() {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0_u64..).sink(
        Stage::new("sink").concurrency(3),
        move |_| {
            let held = Arc::clone(&held);
            async move {
                let _held = held;
                std::future::pending().await
            }
        },
    );
    let running = plan.run().unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&alive), 2 + 3);
    drop(running);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&alive), 1, "every task has ended");
}

/// An outlet that outlives its function keeps its turn, its bytes, and the pipeline.
#[tokio::test(start_paused = true)]
async fn an_outlet_that_was_kept_is_waited_for() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..6_u64)
        .expand(Stage::new("kept").concurrency(3).ordered(), |number, mut out| async move {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100 - number)).await;
                out.emit(number).await.unwrap();
            });
            Ok(())
        })
        .fold(Stage::new("check"), 100, |last, number| async move {
            assert!(last.is_none_or(|last| last < number), "in order");
            Ok(number)
        })
        .sink(Stage::new("sink"), |last| async move {
            assert_eq!(last, 5);
            Ok(())
        });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    balances(&snapshot);
    assert_eq!(snapshot.stage("check").unwrap().ledger.passed, 6);
}

/// On one thread, a pipeline whose functions never wait lets others run, and an abort in.
#[tokio::test]
async fn a_pipeline_that_never_waits_can_be_aborted() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0_u64..)
        .map(Stage::new("pass").concurrency(3), |number| async move { Ok(number) })
        .expand(Stage::new("twice"), |number, mut out| async move {
            // For ever.
            loop {
                out.emit(number).await?;
            }
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let running = plan.run().unwrap();
    while running.snapshot().delivered() < 1000 {
        tokio::task::yield_now().await;
    }
    balances(&running.abort().await.snapshot);
}

/// Not all is through: that is not the end that was waited for.
#[test]
fn a_runtime_that_ends_is_an_error() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let first = runtime();
    let running = first.block_on(async {
        let running = Pipeline::from_iter(Stage::new("numbers"), 0_u64..)
            .sink(Stage::new("stuck"), |_| std::future::pending())
            .run()
            .unwrap();
        while running.snapshot().asked() < 2 {
            tokio::task::yield_now().await;
        }
        running
    });
    drop(first);
    let ended = runtime().block_on(async {
        let error = running.finish().await.unwrap_err().to_string();
        assert!(error.ends_with("ended with its runtime"), "{error}");
        running.abort().await
    });
    balances(&ended.snapshot);
}

/// Taken, and not begun with: there is no room for what its function would make.
#[tokio::test(start_paused = true)]
async fn what_waits_for_room_comes_back() {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0_u32..)
        .map(Stage::new("make").concurrency(3).max_item(64), move |number| {
            count.fetch_add(1, SeqCst);
            async move { Ok(u64::from(number)) }
        })
        .sink(Stage::new("stuck").in_bytes(128), |_| std::future::pending());
    let running = plan.run().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting = running.snapshot().stage("make").unwrap().ledger.in_hand();
    assert!(waiting > 0);
    let mut ended = running.abort().await;
    balances(&ended.snapshot);
    let make = ended.snapshot.stage("make").unwrap().ledger;
    assert_eq!((make.taken, make.interrupted), (begun.load(SeqCst) as u64, 0));
    let (mut back, made) = (ended.take::<u32>("make"), ended.take::<u64>("stuck"));
    back.sort_unstable();
    // One is with the function that is stuck; of all others none is missing.
    let all: Vec<u64> = made.into_iter().chain(back.into_iter().map(u64::from)).collect();
    assert!(all.iter().copied().eq(1..ended.snapshot.asked()), "{all:?}");
}

/// The same in stages whose functions block, and in those that make one of many.
#[tokio::test(start_paused = true)]
async fn what_waits_for_room_comes_back_from_every_kind_of_stage() {
    let numbers = || Pipeline::from_iter(Stage::new("numbers"), 0_u32..);
    let make = || Stage::new("make").max_item(64);
    let blocking = numbers().map_blocking(make().concurrency(3), |number| Ok(u64::from(number)));
    let folding = numbers().fold(make(), 1, |_, number| async move { Ok(u64::from(number)) });
    for stage in [blocking, folding] {
        let plan = stage.sink(Stage::new("stuck").in_bytes(128), |_| std::future::pending());
        let running = plan.run().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(running.snapshot().stage("make").unwrap().ledger.in_hand() > 0);
        let mut ended = running.abort().await;
        balances(&ended.snapshot);
        assert_eq!(ended.snapshot.stage("make").unwrap().ledger.interrupted, 0);
        let (mut back, made) = (ended.take::<u32>("make"), ended.take::<u64>("stuck"));
        back.sort_unstable();
        let all: Vec<u64> = made.into_iter().chain(back.into_iter().map(u64::from)).collect();
        assert!(all.iter().copied().eq(1..ended.snapshot.asked()), "{all:?}");
    }
}

/// Made, and not handed on: it is not its turn.
#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_comes_back() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..4_u32)
        .map(Stage::new("ordered").concurrency(4).ordered(), |number| async move {
            if number == 0 {
                std::future::pending::<()>().await;
            }
            Ok(u64::from(number) * 10)
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let running = plan.run().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut ended = running.drain(Duration::from_secs(1)).await;
    balances(&ended.snapshot);
    let mut made = ended.take::<u64>("sink");
    made.sort_unstable();
    assert_eq!(made, [10, 20, 30]);
    let ordered = ended.snapshot.stage("ordered").unwrap().ledger;
    assert_eq!((ordered.taken, ordered.passed, ordered.interrupted), (4, 3, 1));
}

/// The same with one of several that are made of an item.
#[tokio::test(start_paused = true)]
async fn a_part_that_waits_for_its_turn_comes_back() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..4_u32)
        .expand(Stage::new("parts").concurrency(4).ordered(), |number, mut out| async move {
            if number == 0 {
                std::future::pending::<()>().await;
            }
            out.emit(u64::from(number) * 10).await?;
            Ok(())
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let running = plan.run().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut ended = running.abort().await;
    balances(&ended.snapshot);
    let mut made = ended.take::<u64>("sink");
    made.sort_unstable();
    assert_eq!(made, [10, 20, 30]);
    let parts = ended.snapshot.stage("parts").unwrap().ledger;
    assert_eq!((parts.taken, parts.interrupted, parts.emitted), (4, 4, 3));
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_tried_again_comes_back() {
    use tidegate::pipeline::{Failed, Retry};

    let stage = Stage::new("later").concurrency(3).retry(Retry::default());
    let running = Pipeline::from_iter(Stage::new("numbers"), 0..3_u32)
        .sink(stage, |number| async move { Err(Failed::give_back(number, std::fmt::Error)) })
        .run()
        .unwrap();
    while running.snapshot().stage("later").unwrap().ledger.retries < 3 {
        tokio::task::yield_now().await;
    }
    let mut ended = running.abort().await;
    balances(&ended.snapshot);
    let mut back = ended.take::<u32>("later");
    back.sort_unstable();
    assert_eq!(back, [0, 1, 2]);
    assert_eq!(ended.snapshot.stage("later").unwrap().ledger.interrupted, 0);
}
