//! What comes out, in which order, and how much is under way meanwhile.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::channel::bounded;
use tidegate::pipeline::{Failed, Pipeline, Snapshot, Stage};

/// Collects what comes to a sink.
pub(super) struct Seen<T>(pub(super) Arc<Mutex<Vec<T>>>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Send + 'static> Seen<T> {
    pub(super) fn put(&self) -> impl Fn(T) + Send + Sync + Clone + use<T> {
        let seen = Arc::clone(&self.0);
        move |item| seen.lock().unwrap().push(item)
    }

    pub(super) fn all(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Everything is accounted for, stage by stage, and nothing is held.
pub(super) fn balances(snapshot: &Snapshot) {
    assert_eq!(snapshot.held, 0, "{snapshot:#?}");
    for stage in &snapshot.stages {
        assert_eq!((stage.ledger.in_hand(), stage.queued), (0, 0), "{stage:#?}");
        let shares = stage.shares();
        let sum = shares.busy + shares.starved + shares.blocked_on_output + shares.blocked_on_budget;
        assert!((sum - 1.0).abs() < 1e-9, "{shares:?}");
    }
    for (stage, next) in snapshot.stages.iter().zip(&snapshot.stages[1..]) {
        assert_eq!(stage.ledger.emitted, next.ledger.taken + next.ledger.left, "{stage:#?} {next:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ordered_stage_keeps_the_order_and_an_unordered_one_need_not() {
    for ordered in [true, false] {
        let seen = Seen::default();
        let put = seen.put();
        let stage = Stage::new("slow first").concurrency(8);
        let stage = if ordered { stage.ordered() } else { stage.unordered() };
        let plan = Pipeline::from_iter(Stage::new("numbers"), 0..64_u64)
            .map(stage, |number| async move {
                tokio::time::sleep(Duration::from_millis(64 - number)).await;
                Ok(number)
            })
            .sink(Stage::new("sink"), move |number| {
                put(number);
                async { Ok(()) }
            });
        let snapshot = plan.run().unwrap().finish().await.unwrap();
        balances(&snapshot);
        let mut all = seen.all();
        assert_eq!(all.is_sorted(), ordered, "{all:?}");
        all.sort_unstable();
        assert!(all.into_iter().eq(0..64));
    }
}

#[tokio::test(start_paused = true)]
async fn an_ordered_stage_that_expands_hands_on_each_items_things_together() {
    let seen = Seen::default();
    let put = seen.put();
    let plan = Pipeline::from_iter(Stage::new("numbers"), 0..20_u64)
        .expand(Stage::new("expand").concurrency(4).ordered().max_item(64), |number, mut out| async move {
            tokio::time::sleep(Duration::from_millis(20 - number)).await;
            for part in 0..number % 4 {
                let room = out.reserve(10).await?;
                assert_eq!(room.bytes(), 64);
                room.emit((number, part)).await?;
            }
            Ok(())
        })
        .sink(Stage::new("sink").in_bytes(128), move |part| {
            put(part);
            async { Ok(()) }
        });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    balances(&snapshot);
    let expected = (0..20).flat_map(|number| (0..number % 4).map(move |part| (number, part)));
    assert!(seen.all().into_iter().eq(expected));
}

#[tokio::test]
async fn batches_are_full_in_items_or_in_bytes_and_the_last_is_what_is_left() {
    let seen = Seen::default();
    let put = seen.put();
    let sizes = [100, 100, 100, 100, 300, 300, 1, 1];
    let plan = Pipeline::from_iter(Stage::new("chunks").max_item(400), sizes.map(|size| vec![7_u8; size]))
        .batch(Stage::new("batch").max_item(400), 3)
        .sink(Stage::new("sink").concurrency(1), move |batch| {
            put(batch.iter().map(Vec::len).collect::<Vec<_>>());
            async { Ok(()) }
        });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    balances(&snapshot);
    let expected: [&[usize]; 4] = [&[100, 100, 100], &[100, 300], &[300, 1], &[1]];
    // The small ones are charged their place: 300 + 64, and 64 more would be too much.
    assert_eq!(seen.all(), expected);
    assert_eq!((snapshot.asked(), snapshot.delivered()), (8, 4));
    assert_eq!(snapshot.stage("batch").unwrap().ledger.passed, 8);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_get_full_lingers() {
    let seen = Seen::default();
    let put = seen.put();
    let mut next = 0_u64;
    let source = move || {
        next += 1;
        let number = next;
        async move {
            let pause = if number % 4 == 1 { 1000 } else { 1 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Ok((number <= 12).then_some(number))
        }
    };
    let plan = Pipeline::from_fn(Stage::new("bursts"), source)
        .batch(Stage::new("batch").linger(Duration::from_millis(100)), 1000)
        .sink(Stage::new("sink"), move |batch| {
            put(batch.into_vec());
            async { Ok(()) }
        });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    balances(&snapshot);
    assert_eq!(seen.all(), [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10, 11, 12]]);
}

#[tokio::test]
async fn folds_work_many_into_one() {
    let seen = Seen::default();
    let put = seen.put();
    let plan = Pipeline::from_iter(Stage::new("numbers"), 1..=10_u64)
        .fold(Stage::new("sum"), 4, |sum, number| async move { Ok(sum.unwrap_or(0) + number) })
        .sink(Stage::new("sink"), move |sum| {
            put(sum);
            async { Ok(()) }
        });
    balances(&plan.run().unwrap().finish().await.unwrap());
    assert_eq!(seen.all(), [10, 26, 19]);
}

/// Dask's withheld root tasks: the source is at most 1.1 items ahead of each that is worked on.
#[tokio::test(start_paused = true)]
async fn the_source_is_asked_when_there_is_room() {
    for (concurrency, under_way) in [(1, 2), (4, 5), (20, 22), (90, 99)] {
        let (ahead, most, done) = <(AtomicUsize, AtomicUsize, AtomicUsize)>::default();
        let counts = Arc::new((ahead, most, done));
        let (asks, ends) = (Arc::clone(&counts), Arc::clone(&counts));
        let source = (0..200_u64).inspect(move |_| {
            let ahead = asks.0.fetch_add(1, SeqCst) + 1;
            asks.1.fetch_max(ahead, SeqCst);
        });
        let plan = Pipeline::from_iter(Stage::new("numbers"), source).sink(
            Stage::new("slow").concurrency(concurrency),
            move |_| {
                let ends = Arc::clone(&ends);
                async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    ends.0.fetch_sub(1, SeqCst);
                    ends.2.fetch_add(1, SeqCst);
                    Ok(())
                }
            },
        );
        balances(&plan.run().unwrap().finish().await.unwrap());
        assert_eq!((counts.1.load(SeqCst), counts.2.load(SeqCst)), (under_way, 200));
    }
}

/// Between two channels: who sends feels how fast the pipeline is, and nothing is charged when all is through.
#[tokio::test]
async fn channels_are_sources_and_sinks() {
    let (sender, receiver) = bounded::<Vec<u8>>(1000);
    let (results, mut out) = bounded::<Vec<u8>>(1000);
    let watch = sender.clone();
    let feed = tokio::spawn(async move {
        for size in 1..100 {
            sender.send(vec![7; size]).await.unwrap().into_result().unwrap();
        }
        drop(sender);
    });
    let plan = Pipeline::source(Stage::new("in").max_item(500), receiver)
        .map(Stage::new("double").max_item(500), |chunk: Vec<u8>| async move { Ok(chunk.repeat(2)) })
        .sink(Stage::new("out"), move |chunk| {
            let results = results.clone();
            async move {
                results.send(chunk).await?.into_result().map_err(|full| Failed::new(full.to_string()))?;
                Ok(())
            }
        });
    let running = plan.run().unwrap();
    drop(watch);
    let mut sizes = Vec::new();
    while sizes.len() < 99 {
        sizes.push(out.recv().await.unwrap().len());
    }
    feed.await.unwrap();
    balances(&running.finish().await.unwrap());
    assert!(sizes.into_iter().eq((1..100).map(|size| size * 2)));
}

/// More bytes exist neither by the pipeline's own count nor by that of the things themselves.
#[tokio::test]
async fn no_more_bytes_exist_than_were_given() {
    static EXIST: AtomicU64 = AtomicU64::new(0);
    static PEAK: AtomicU64 = AtomicU64::new(0);

    struct Block(u64);

    impl Block {
        fn new(bytes: u64) -> Self {
            let exist = EXIST.fetch_add(bytes, SeqCst) + bytes;
            PEAK.fetch_max(exist, SeqCst);
            Self(bytes)
        }
    }

    impl tidegate::channel::Weigh for Block {
        fn weight(&self) -> u64 {
            self.0
        }
    }

    impl Drop for Block {
        fn drop(&mut self) {
            EXIST.fetch_sub(self.0, SeqCst);
        }
    }

    for bytes in [7_000, 8_000, 12_000, 40_000] {
        PEAK.store(0, SeqCst);
        let plan = Pipeline::from_iter(
            Stage::new("blocks").max_item(1000),
            (0..500).map(|at| Block::new(1 + at * 2)),
        )
        .map(Stage::new("double").concurrency(8).ordered().max_item(2000), |block| async move {
            tokio::task::yield_now().await;
            Ok(Block::new(block.0 * 2))
        })
        .expand(Stage::new("thirds").concurrency(4).max_item(1000), |block, mut out| async move {
            for _ in 0..3 {
                let room = out.reserve(block.0 / 3).await?;
                let third = Block::new(room.bytes().min(block.0 / 3));
                room.emit(third).await?;
            }
            Ok(())
        })
        .batch(Stage::new("batch").max_item(3000), 5)
        .sink(Stage::new("sink").concurrency(2), |batch| async move {
            tokio::task::yield_now().await;
            drop(batch);
            Ok(())
        })
        .bytes(bytes);
        let snapshot = plan.run().unwrap().finish().await.unwrap();
        balances(&snapshot);
        let peak = PEAK.load(SeqCst);
        assert!(snapshot.peak <= bytes && peak <= snapshot.peak, "{peak} {} {bytes}", snapshot.peak);
        assert_eq!(EXIST.load(SeqCst), 0);
    }
}
