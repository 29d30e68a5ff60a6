//! Two threads contending with a full queue, beside tokio's semaphore: `cargo bench -p tidegate --bench
//! contended`.
//!
//! Sixty-four tasks on two threads want four units again and again, so that everybody waits and every release
//! hands over. Runs are interleaved; the medians are printed, and those of the pairs' ratios: of the pace, and of the
//! processor's time for an admission (Linux), which holds on a machine that others use as well. What a wait that is bounded in
//! time costs at least shows a semaphore on a runtime with an idle timer, and one with two readings of the clock.

#![allow(clippy::unwrap_used)] // a program of its own: it may stop where it stands

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidegate::{Demand, Limiter, QueueConfig};
use tokio::sync::Semaphore;
use tokio::time::Instant;

const UNITS: u64 = 4;
const TASKS: u64 = 64;
const ROUNDS: u64 = 5_000;
const RUNS: usize = 9;

/// The processor's time, in nanoseconds, that the threads of this program have had; 0 where that is not told.
fn processor() -> u64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let of_task = |path: std::path::PathBuf| -> Option<u64> {
        std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    tasks.flatten().filter_map(|task| of_task(task.path())).sum()
}

/// Admissions a second.
async fn pace<F: Future<Output = ()> + Send + 'static>(work: impl Fn() -> F) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(work())).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let elapsed: Duration = start.elapsed();
    (TASKS * ROUNDS) as f64 / elapsed.as_secs_f64()
}

/// `readings` of the clock for each admission.
async fn semaphore(readings: u32) -> f64 {
    let semaphore = Arc::new(Semaphore::new(UNITS as usize));
    pace(|| {
        let semaphore = Arc::clone(&semaphore);
        async move {
            for _ in 0..ROUNDS {
                for _ in 0..readings {
                    std::hint::black_box(Instant::now());
                }
                let permit = semaphore.acquire().await.unwrap();
                tokio::task::yield_now().await;
                drop(permit);
            }
        }
    })
    .await
}

/// While a timer that nobody hears is set.
async fn semaphore_beside_a_timer() -> f64 {
    let timer = tokio::spawn(tokio::time::sleep(Duration::from_secs(600)));
    let pace = semaphore(0).await;
    timer.abort();
    pace
}

async fn limiter(tracked: bool) -> f64 {
    let queue = QueueConfig::bounded(TASKS - UNITS);
    let limiter = Limiter::builder().limit(UNITS).queue(queue).track_occupants(tracked).build().unwrap();
    pace(|| {
        let limiter = limiter.clone();
        async move {
            for _ in 0..ROUNDS {
                let permit = limiter.acquire(Demand::ONE).await.unwrap();
                tokio::task::yield_now().await;
                drop(permit);
            }
        }
    })
    .await
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Of pairs: the median of how many times the first the second is.
fn ratio(first: &[f64], second: &[f64]) -> f64 {
    median(first.iter().zip(second).map(|(first, second)| second / first).collect())
}

/// The pace, and the processor's nanoseconds for an admission.
fn run(work: impl FnOnce() -> f64) -> (f64, f64) {
    let before = processor();
    let pace = work();
    (pace, processor().saturating_sub(before) as f64 / (TASKS * ROUNDS) as f64)
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let mut runs: [(Vec<f64>, Vec<f64>); 5] = Default::default();
    for _ in 0..RUNS {
        let round = [
            run(|| runtime.block_on(semaphore(0))),
            run(|| runtime.block_on(semaphore_beside_a_timer())),
            run(|| runtime.block_on(semaphore(2))),
            run(|| runtime.block_on(limiter(false))),
            run(|| runtime.block_on(limiter(true))),
        ];
        for ((paces, costs), (pace, cost)) in runs.iter_mut().zip(round) {
            paces.push(pace);
            costs.push(cost);
        }
    }
    let plain = runs[0].clone();
    let names =
        ["semaphore", "semaphore, idle timer", "semaphore, clock twice", "fixed (bar: 0.8)", "tracked"];
    println!("{:<24}{:>23} {:>23}", "", "admissions a second", "CPU ns an admission");
    for (name, (paces, costs)) in names.into_iter().zip(runs) {
        let (faster, cheaper) = (ratio(&plain.0, &paces), ratio(&costs, &plain.1));
        println!(
            "{name:<24}{:>10.0} {faster:>10.2} x {:>11.0} {cheaper:>9.2} x",
            median(paces),
            median(costs)
        );
    }
}
