//! A pipeline with every way of getting stuck in it (ordered, expanding, batching), at the least bytes that it may
//! have: does it come through, how fast, and how much memory does the process take beyond that?
//!
//! `cargo bench -p tidegate --features stream --bench pipeline -- [ITEMS]` (ten million unless given). Fails if it
//! does not come through, or takes more than its budget and 20 MB.

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

/// The most memory that this process has had, in bytes.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a benchmark measures, and fails by panicking
fn main() {
    let items = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
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
