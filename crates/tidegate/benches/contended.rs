//! Two threads contending with a full queue, beside tokio's semaphore: `cargo bench -p tidegate --bench
//! contended`.
//!
//! Sixty-four tasks on two threads want four units again and again, so that everybody waits and every release
//! hands over. Runs are interleaved; the medians and their ratio are printed.

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

async fn semaphore() -> f64 {
    let semaphore = Arc::new(Semaphore::new(UNITS as usize));
    pace(|| {
        let semaphore = Arc::clone(&semaphore);
        async move {
            for _ in 0..ROUNDS {
                let permit = semaphore.acquire().await.unwrap();
                tokio::task::yield_now().await;
                drop(permit);
            }
        }
    })
    .await
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

fn median(mut paces: Vec<f64>) -> f64 {
    paces.sort_by(f64::total_cmp);
    paces.get(paces.len() / 2).copied().unwrap_or_default()
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let mut paces = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        paces[0].push(runtime.block_on(semaphore()));
        paces[1].push(runtime.block_on(limiter(false)));
        paces[2].push(runtime.block_on(limiter(true)));
    }
    let [semaphore, fixed, tracked] = paces.map(median);
    println!("semaphore {semaphore:>10.0} admissions/s");
    println!("fixed     {fixed:>10.0} admissions/s {:.2} x (bar: 0.8)", fixed / semaphore);
    println!("tracked   {tracked:>10.0} admissions/s {:.2} x", tracked / semaphore);
}
