//! Items that fail: the pipeline fails, or they are skipped, tried again, sent on; and panics.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tidegate::channel::{Config, Overflow, bounded};
use tidegate::pipeline::{DeadLetter, Failed, Pipeline, Retry, Stage};

use super::flow::balances;

#[tokio::test]
async fn the_first_error_fails_the_pipeline_and_leaks_nothing() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0_u32..)
        .map(Stage::new("odd one").concurrency(4), |number| async move {
            if number == 100 {
                Err(io::Error::other("a hundred"))?
            }
            Ok(number)
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let running = plan.run().unwrap();
    let error = running.finish().await.unwrap_err();
    assert_eq!(error.to_string(), "stage \"odd one\" failed: a hundred");
    assert!(error.source().unwrap().downcast_ref::<io::Error>().is_some());
    let ended = running.abort().await;
    assert_eq!(ended.failure.unwrap().stage(), "odd one");
    balances(&ended.snapshot);
    assert_eq!(ended.snapshot.stage("odd one").unwrap().ledger.failed, 1);
}

#[tokio::test]
async fn what_fails_is_skipped_and_counted() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..100_u32)
        .map(Stage::new("even").concurrency(4).ordered().skip_failed(), |number| async move {
            if number % 2 == 1 {
                Err(io::Error::other("odd"))?
            }
            Ok(number)
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    balances(&snapshot);
    let ledger = snapshot.stage("even").unwrap().ledger;
    assert_eq!((ledger.passed, ledger.skipped, snapshot.delivered()), (50, 50, 50));
}

#[tokio::test(start_paused = true)]
async fn what_was_given_back_is_tried_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..10_u32).sink(
        Stage::new("flaky").retry(Retry::default().attempts(4)).skip_failed(),
        move |number| {
            let call = count.fetch_add(1, SeqCst);
            // The third attempt succeeds; 9 never does.
            async move {
                if number == 9 || call % 3 < 2 {
                    return Err(Failed::give_back(number, io::Error::other("not now")));
                }
                Ok(())
            }
        },
    );
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    balances(&snapshot);
    let ledger = snapshot.stage("flaky").unwrap().ledger;
    // Ten retries are in the budget at first, and a tenth of one comes in with each success.
    assert_eq!(ledger.passed + ledger.skipped, 10);
    assert_eq!(ledger.retries, 10, "{ledger:?}");
    assert!(ledger.passed >= 5);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_given_back_is_not_tried_again() {
    let stage = Stage::new("lossy").retry(Retry::default()).skip_failed();
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..3_u32)
        .sink(stage, |_| async { Err(io::Error::other("lost"))? });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    let ledger = snapshot.stage("lossy").unwrap().ledger;
    assert_eq!((ledger.skipped, ledger.retries), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_waited_for_and_none_is_lost() {
    let (dead, mut letters) = bounded::<DeadLetter<u32>>(600);
    let slow = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(letter) = letters.recv().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen.push(letter.item);
        }
        seen
    });
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..200_u32).sink(
        Stage::new("even").concurrency(3).retry(Retry::default().attempts(2)).dead_letters(dead),
        |number| async move {
            if number % 2 == 1 { Err(Failed::give_back(number, io::Error::other("odd"))) } else { Ok(()) }
        },
    );
    let running = plan.run().unwrap();
    let snapshot = running.finish().await.unwrap();
    drop(running);
    balances(&snapshot);
    let ledger = snapshot.stage("even").unwrap().ledger;
    assert_eq!((ledger.passed, ledger.dead_lettered), (100, 100));
    assert!(ledger.retries >= 10, "{ledger:?}");
    let mut seen = slow.await.unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq((1..200).step_by(2)));
}

/// Who looks at the ledger learns how many of them nobody will receive.
#[tokio::test]
async fn letters_that_their_channel_pushes_out_are_counted_as_lost() {
    for (policy, received) in [(Overflow::DropNewest, 0..3_u32), (Overflow::DropOldest, 7..10)] {
        let config = Config::new(1 << 16).max_items(3).overflow(policy);
        let (dead, mut letters) = config.build().unwrap();
        let plan = Pipeline::from_iter(Stage::new("numbers"), 0..10_u32)
            .sink(Stage::new("sink").dead_letters(dead), |number| async move {
                Err(Failed::give_back(number, io::Error::other("no")))
            });
        let running = plan.run().unwrap();
        let snapshot = running.finish().await.unwrap();
        drop(running);
        balances(&snapshot);
        let ledger = snapshot.stage("sink").unwrap().ledger;
        assert_eq!((ledger.dead_lettered, ledger.letters_lost), (10, 7));
        let mut left = Vec::new();
        while let Some(letter) = letters.recv().await {
            left.push(letter.item);
        }
        assert!(left.iter().copied().eq(received), "{left:?}");
    }
}

#[tokio::test]
async fn dead_letters_that_nobody_takes_fail_the_pipeline() {
    let (dead, letters) = bounded(1 << 16);
    drop(letters);
    let fails = |give_back| {
        Pipeline::from_iter(Stage::new("numbers"), 0..3_u32).sink(
            Stage::new("sink").dead_letters(dead.clone()),
            move |number| async move {
                let error = io::Error::other("no");
                Err(if give_back { Failed::give_back(number, error) } else { error.into() })
            },
        )
    };
    let error = fails(true).run().unwrap().finish().await.unwrap_err().to_string();
    assert!(error.contains("could not send a failed item on"), "{error}");
    let error = fails(false).run().unwrap().finish().await.unwrap_err().to_string();
    assert!(error.contains("was not given one back: no"), "{error}");
}

/// What was handed on once must not be handed on twice.
#[tokio::test(start_paused = true)]
async fn what_failed_halfway_is_not_tried_again() {
    let stage = Stage::new("halfway").retry(Retry::default()).skip_failed();
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..4_u32)
        .expand(stage, |number, mut out| async move {
            if number % 2 == 0 {
                out.emit(number).await?;
            }
            Err(Failed::give_back(number, io::Error::other("broke off")))
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    balances(&snapshot);
    let ledger = snapshot.stage("halfway").unwrap().ledger;
    assert_eq!((ledger.skipped, ledger.retries, snapshot.delivered()), (4, 4, 2));
}

#[tokio::test]
async fn more_than_was_promised_is_an_error() {
    let plan = Pipeline::from_iter(Stage::new("numbers"), [100_usize, 200])
        .map(Stage::new("make").max_item(100), |bytes| async move { Ok(vec![0_u8; bytes]) })
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let running = plan.run().unwrap();
    let error = running.finish().await.unwrap_err().to_string();
    assert!(error.contains("200 bytes where at most 100 were promised"), "{error}");
    balances(&running.abort().await.snapshot);

    let plan = Pipeline::from_iter(Stage::new("chunks").max_item(10), [vec![0_u8; 100]])
        .sink(Stage::new("sink"), |_| async { Ok(()) });
    let error = plan.run().unwrap().finish().await.unwrap_err();
    assert_eq!(error.stage(), "chunks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_fails_the_pipeline_wherever_it_is() {
    for place in 0..6 {
        let here = move |at: u32, number: u32| {
            assert!(place != at || number != 50, "boom in {at}");
        };
        let source = (0_u32..).inspect(move |number| here(0, *number));
        let plan = Pipeline::from_iter(Stage::new("numbers"), source)
            .map(Stage::new("map").concurrency(3).ordered(), move |number| async move {
                tokio::task::yield_now().await;
                here(1, number);
                Ok(number)
            })
            .map_blocking(Stage::new("block").concurrency(2), move |number| {
                here(2, number);
                Ok(number)
            })
            .expand(Stage::new("expand"), move |number, mut out| async move {
                here(3, number);
                Ok(out.emit(number).await?)
            })
            .fold(Stage::new("fold"), 3, move |sum, number| async move {
                here(4, number);
                Ok(sum.unwrap_or(0_u64) + u64::from(number))
            })
            .sink(Stage::new("sink"), move |sum| {
                here(
                    5,
                    u32::try_from(sum).unwrap() / 3 - u32::try_from(sum).unwrap() / 3
                        + if sum > 150 { 50 } else { 0 },
                );
                async { Ok(()) }
            });
        let running = plan.run().unwrap();
        let error = running.finish().await.unwrap_err();
        assert!(error.is_panic(), "{error}");
        assert!(error.to_string().ends_with(&format!("panicked: boom in {place}")), "{error}");
        balances(&running.abort().await.snapshot);
    }
}

/// A future that panics where it is dropped takes its task along, not the pipeline's books.
#[tokio::test]
async fn a_panic_in_a_drop_fails_the_pipeline() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "boom");
        }
    }
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..10_u32).sink(
        Stage::new("sink").concurrency(2),
        |number| {
            let bomb = (number == 5).then_some(Bomb);
            async move {
                let _bomb = bomb;
                Ok(())
            }
        },
    );
    let running = plan.run().unwrap();
    assert!(running.finish().await.unwrap_err().is_panic());
    balances(&running.abort().await.snapshot);
}

#[tokio::test]
async fn a_source_may_fail() {
    let mut left = 3_u32;
    let plan = Pipeline::from_fn(Stage::new("numbers"), move || {
        left = left.saturating_sub(1);
        let left = left;
        async move { if left == 0 { Err("dry".into()) } else { Ok(Some(left)) } }
    })
    .sink(Stage::new("sink"), |_| async { Ok(()) });
    let error = plan.run().unwrap().finish().await.unwrap_err();
    assert_eq!(error.to_string(), "stage \"numbers\" failed: dry");
}

#[tokio::test(start_paused = true)]
async fn an_item_expires_while_it_waits_to_be_tried_again() {
    let stage =
        Stage::new("down").retry(Retry::default().pauses(Duration::from_secs(60), Duration::from_secs(60)));
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..1_u32)
        .map(
            stage,
            |number| async move { Err::<u32, _>(Failed::give_back(number, io::Error::other("down"))) },
        )
        .sink(Stage::new("sink"), |_| async { Ok(()) })
        .deadline(Duration::from_micros(1));
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    assert_eq!(snapshot.stage("down").unwrap().ledger.expired, 1);
    balances(&snapshot);
}
