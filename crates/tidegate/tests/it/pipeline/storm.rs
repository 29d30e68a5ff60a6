//! Ends at random moments leave nothing held; and the least legal budget is enough for every shape.

use std::time::Duration;

use proptest::prelude::*;
use tidegate::pipeline::{Failed, Pipeline, Plan, Retry, Stage};

use super::flow::balances;

/// Ordered, expanding, gathering: every way in which pipelines get stuck.
pub(super) fn shape(items: u64, concurrency: usize, pauses: bool) -> Plan {
    let pause = move |at: u64| async move {
        if pauses && at % 3 == 0 {
            tokio::time::sleep(Duration::from_micros(at % 17)).await;
        } else if at % 5 == 0 {
            tokio::task::yield_now().await;
        }
    };
    Pipeline::from_iter(Stage::new("source").max_item(64), 0..items)
        .map(
            Stage::new("ordered").concurrency(concurrency).ordered().max_item(64),
            move |number| async move {
                pause(number).await;
                Ok(number)
            },
        )
        .expand(
            Stage::new("expand").concurrency(concurrency).ordered().max_item(256),
            move |number, mut out| async move {
                for part in 0..number % 3 {
                    let bytes = usize::try_from(number % 4 * 64).unwrap();
                    pause(number + part).await;
                    out.reserve(256).await?.emit(Vec::<u8>::with_capacity(bytes)).await?;
                }
                Ok(())
            },
        )
        .batch(Stage::new("batch").max_item(512), 4)
        .map(
            Stage::new("lossy").concurrency(concurrency).max_item(64).retry(Retry::default()).skip_failed(),
            move |batch| async move {
                if batch.len() % 3 == 1 {
                    return Err(Failed::give_back(batch, std::io::Error::other("one too many")));
                }
                Ok(batch.len() as u64)
            },
        )
        .fold(Stage::new("fold").concurrency(2).max_item(64), 7, |sum, number| async move {
            Ok(sum.unwrap_or(0_u64) + number)
        })
        .sink(Stage::new("sink").concurrency(concurrency), move |number| async move {
            pause(number).await;
            Ok(())
        })
}

pub(super) const RESERVES: u64 = 64 + 64 + 256 + 512 + 64 + 2 * 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_least_legal_budget_is_enough() {
    for extra in [0, 1, 64, 300, 5000] {
        let plan = shape(3000, 3, false).bytes(RESERVES + extra);
        let running = plan.run().unwrap();
        let finished = tokio::time::timeout(Duration::from_secs(60), running.finish()).await;
        let snapshot = finished.unwrap_or_else(|_| panic!("stuck: {:#?}", running.snapshot())).unwrap();
        balances(&snapshot);
        assert!(snapshot.peak <= RESERVES + extra);
        assert_eq!(snapshot.asked(), 3000);
        assert_eq!(snapshot.stage("batch").unwrap().ledger.passed, 3000);
    }
    assert!(shape(1, 3, false).bytes(RESERVES - 1).run().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborts_at_random_moments_leave_nothing_held() {
    for round in 0..300_u64 {
        let plan = shape(u64::MAX, 1 + (round % 4) as usize, true).bytes(RESERVES + round * 7);
        let plan = if round % 3 == 0 { plan.deadline(Duration::from_micros(500)) } else { plan };
        let running = plan.run().unwrap();
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_micros(round * 13)).await;
        } else {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
        }
        let ended = match round % 5 {
            0 => running.drain(Duration::from_micros(round)).await,
            _ => running.abort().await,
        };
        balances(&ended.snapshot);
        assert!(ended.snapshot.peak <= RESERVES + round * 7);
    }
}

/// Rooms that are waited for in vain, rooms that are not used and things that are given up before their turn: nothing of them
/// stays held, and nobody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_functions_give_up_goes_back() {
    for ordered in [true, false] {
        let stage = Stage::new("fickle").concurrency(4).max_item(200);
        let stage = if ordered { stage.ordered() } else { stage };
        let plan = Pipeline::from_iter(Stage::new("source").max_item(64), 0..2000_u64)
            .expand(stage, |number, mut out| async move {
                for attempt in number.. {
                    let patience = Duration::from_micros(attempt % 7 * 20);
                    let try_once = async {
                        let room = out.reserve(200).await?;
                        if attempt % 3 == 0 {
                            return Ok(());
                        }
                        tokio::task::yield_now().await;
                        room.emit(vec![7_u8; 150]).await
                    };
                    // Patience grows, so that everything gets through at last.
                    let patience = patience + Duration::from_millis((attempt - number) / 10);
                    match tokio::time::timeout(patience, try_once).await {
                        Ok(result) if attempt % 3 == 0 => result?,
                        Ok(result) => return Ok(result?),
                        Err(_) => {}
                    }
                }
                Ok(())
            })
            .sink(Stage::new("sink").concurrency(2), |_| async {
                tokio::task::yield_now().await;
                Ok(())
            })
            .bytes(64 + 200 + 400);
        let running = plan.run().unwrap();
        let finished = tokio::time::timeout(Duration::from_secs(60), running.finish()).await;
        let snapshot = finished.unwrap_or_else(|_| panic!("stuck: {:#?}", running.snapshot())).unwrap();
        balances(&snapshot);
        assert_eq!(snapshot.delivered(), 2000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// One thread and paused time: the same interleaving each time, cut off after so many steps.
    #[test]
    fn whatever_is_cut_off_is_accounted_for(steps in 0..4000_usize, concurrency in 1..5_usize, extra in 0..3000_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let running = shape(400, concurrency, true).bytes(RESERVES + extra).run().unwrap();
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            let ended = running.abort().await;
            balances(&ended.snapshot);
        });
    }
}
