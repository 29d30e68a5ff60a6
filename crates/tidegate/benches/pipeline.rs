//! A pipeline with every way of getting stuck in it (ordered, expanding, batching), at the least bytes that it may
//! have: does it come through, how fast, and how much memory does the process take beyond that? And
//! what a pipeline costs beside channels by hand.
//!
//! `cargo bench -p tidegate --features stream --bench pipeline -- [ITEMS]` (ten million unless given). Fails if it
//! does not come through, or takes more than its budget and 20 MB.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a benchmark measures, and fails by panicking

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::pipeline::{Pipeline, Plan, Stage};

const WORKERS: usize = 4;
/// One of the largest items of each stage: source, ordered, expand, batch, sum.
const LEAST: u64 = 64 + 64 + 256 + 4096 + 64;
/// What a process may take beside: stacks, the allocator's slack, the runtime.
const BESIDE: u64 = 20_000_000;

fn plan(items: u64) -> Plan {
    Pipeline::from_iter(Stage::new("source").max_item(64), 0..items)
        .map(
            Stage::new("ordered").concurrency(WORKERS).ordered().max_item(64),
            |number| async move { Ok(number) },
        )
        .expand(
            Stage::new("expand").concurrency(WORKERS).ordered().max_item(256),
            |number, mut out| async move {
                // None, one or two of each; one on average.
                for _ in 0..number % 3 {
                    out.reserve(200).await?.emit(vec![number as u8; 200]).await?;
                }
                Ok(())
            },
        )
        .batch(Stage::new("batch").max_item(4096), 64)
        .map(Stage::new("sum").concurrency(WORKERS).max_item(64), |batch| async move {
            Ok(batch.iter().map(|chunk| u64::from(chunk[0])).sum::<u64>())
        })
        .sink(Stage::new("sink"), |_| async { Ok(()) })
}

/// Chunks of a kilobyte through one stage of four workers: as a pipeline, …
async fn piped(items: u64) {
    let plan = Pipeline::from_iter(Stage::new("source").max_item(1024), (0..items).map(|_| vec![7_u8; 1024]))
        .map(Stage::new("work").concurrency(WORKERS).max_item(1024).in_bytes(64 << 10), |chunk| async move {
            Ok(chunk)
        })
        .sink(Stage::new("sink").in_bytes(64 << 10), |_| async { Ok(()) });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    assert_eq!(snapshot.delivered(), items);
}

/// … and by hand: two channels of 64 places, four tasks that share the end of one.
async fn by_hand(items: u64) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
    let (results, mut sink) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    for _ in 0..WORKERS {
        let (receiver, results) = (Arc::clone(&receiver), results.clone());
        tokio::spawn(async move {
            loop {
                let next = receiver.lock().await.recv().await;
                let Some(chunk) = next else { return };
                results.send(chunk).await.unwrap();
            }
        });
    }
    drop(results);
    tokio::spawn(async move {
        for _ in 0..items {
            sender.send(vec![7_u8; 1024]).await.unwrap();
        }
    });
    let drained = tokio::spawn(async move {
        let mut seen = 0;
        while sink.recv().await.is_some() {
            seen += 1;
        }
        seen
    });
    assert_eq!(drained.await.unwrap(), items);
}

/// Runs in turn; the least, median and greatest ratio of their times.
fn compare(runtime: &tokio::runtime::Runtime) {
    let seconds = |work: &dyn Fn()| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    let (items, mut ratios, mut piped_best) = (200_000, Vec::new(), f64::MAX);
    for _ in 0..9 {
        let ours = seconds(&|| runtime.block_on(async { tokio::spawn(piped(items)).await.unwrap() }));
        let theirs = seconds(&|| runtime.block_on(async { tokio::spawn(by_hand(items)).await.unwrap() }));
        ratios.push(ours / theirs);
        piped_best = piped_best.min(ours);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "1 KiB through one stage of {WORKERS}: {:.0} items/s at best; time over two channels of tokio's, by hand: {:.2} / {:.2} / {:.2}",
        items as f64 / piped_best,
        ratios[0],
        ratios[ratios.len() / 2],
        ratios[ratios.len() - 1],
    );
}

/// The most memory that this process has had, in bytes.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn main() {
    let items = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    compare(&runtime);
    for (name, bytes) in [("the least legal budget", LEAST), ("16 times that", 16 * LEAST)] {
        let begun = Instant::now();
        let snapshot = runtime.block_on(async {
            let running = plan(items).bytes(bytes).run().unwrap();
            let mut before = running.snapshot();
            loop {
                match tokio::time::timeout(Duration::from_secs(20), running.finish()).await {
                    Ok(snapshot) => return snapshot.unwrap(),
                    Err(_) => {
                        let now = running.snapshot();
                        assert!(
                            now.asked() > before.asked() || now.delivered() > before.delivered(),
                            "stuck: {now:#?}"
                        );
                        before = now;
                    }
                }
            }
        });
        let seconds = begun.elapsed().as_secs_f64();
        let chunks = snapshot.stage("batch").unwrap().ledger.passed;
        println!(
            "{name}, {bytes} bytes: {items} items, {chunks} chunks, {} batches in {seconds:.1} s, {:.0} items/s; peak {} bytes",
            snapshot.delivered(),
            items as f64 / seconds,
            snapshot.peak,
        );
        assert_eq!(snapshot.asked(), items);
        assert!(snapshot.peak <= bytes);
        if let Some(rss) = peak_rss() {
            println!("  memory of the process: {:.1} MB at most", rss as f64 / 1e6);
            assert!(rss <= bytes + BESIDE, "{rss} bytes");
        }
    }
}
