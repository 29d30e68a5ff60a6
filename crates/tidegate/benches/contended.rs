//! Two threads contending with a full queue, beside tokio's semaphore: `cargo bench -p tidegate --bench
//! contended`; with names (`-- fixed bounded`) only those rungs beside the semaphore, and nothing counted.
//!
//! Sixty-four tasks on two threads want four units again and again, so that everybody waits and every release
//! hands over. Between the semaphore and the limiter stands what is promised: each rung is a semaphore whose callers do
//! one thing more that a wait needs which is bounded, or measured. Runs are interleaved, after one that does not count; printed are the
//! medians of the pairs' ratios: of the pace, of the processor's time for an admission (Linux), which holds on a machine that
//! others use as well, and of the pace in those pairs whose threads both had a processor all the time. Beside it
//! instructions (callgrind; eight tasks on one thread).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a program of its own: it may stop where it stands

mod count;

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tidegate::{Demand, Limiter, QueueConfig};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::time::Instant;

const UNITS: usize = 4;
const TASKS: u64 = 64;
const ROUNDS: u64 = 2_500;
const RUNS: usize = 25;
/// Longer than any run.
const LONG: Duration = Duration::from_secs(600);

/// What is compared, the semaphore first.
const RUNGS: [(&str, &str); 9] = [
    ("semaphore", "semaphore"),
    ("owned", "… its permits own it"),
    ("runtime", "… and a look which runtime"),
    ("timer", "semaphore, idle timer"),
    ("bounded", "… owned, runtime, idle timer"),
    ("clock", "semaphore, clock twice"),
    ("fixed", "fixed (bar: 0.8)"),
    ("measured", "fixed, every wait measured"),
    ("tracked", "fixed, holders tracked"),
];

/// The processor's time, in nanoseconds, that the threads of this program have had; 0 where that is not told.
fn processor() -> u64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let of_task = |path: std::path::PathBuf| -> Option<u64> {
        std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    tasks.flatten().filter_map(|task| of_task(task.path())).sum()
}

struct Subjects {
    semaphore: Arc<Semaphore>,
    fixed: Limiter,
    measured: Limiter,
    tracked: Limiter,
}

impl Subjects {
    fn new() -> Self {
        let limiter = |tracked| {
            let queue = QueueConfig::bounded(TASKS);
            Limiter::builder().limit(UNITS as u64).queue(queue).track_occupants(tracked).build().unwrap()
        };
        Self {
            semaphore: Arc::new(Semaphore::new(UNITS)),
            fixed: limiter(false),
            measured: limiter(false),
            tracked: limiter(true),
        }
    }

    /// So many tasks, so many times each.
    async fn run(&self, rung: &str, tasks: u64, rounds: u64) {
        let semaphore = &self.semaphore;
        let owned = async |semaphore: &Arc<Semaphore>| Arc::clone(semaphore).acquire_owned().await.unwrap();
        let Self { fixed, measured, tracked, .. } = self;
        let timer = async { tokio::time::sleep(LONG).await };
        let timer = matches!(rung, "timer" | "bounded").then(|| tokio::spawn(timer));
        // A macro, because a closure over futures would put something between.
        macro_rules! every {
            ($shared:ident, $take:expr) => {
                all(tasks, || {
                    let $shared = $shared.clone();
                    async move {
                        for _ in 0..rounds {
                            let permit = $take;
                            tokio::task::yield_now().await;
                            drop(permit);
                        }
                    }
                })
                .await
            };
        }
        match rung {
            "semaphore" | "timer" => every!(semaphore, semaphore.acquire().await.unwrap()),
            "owned" => every!(semaphore, owned(&semaphore).await),
            "runtime" | "bounded" => every!(semaphore, {
                black_box(Handle::try_current().map(|handle| handle.id()).ok());
                owned(&semaphore).await
            }),
            "clock" => every!(semaphore, {
                black_box(Instant::now());
                let permit = semaphore.acquire().await.unwrap();
                black_box(Instant::now());
                permit
            }),
            "measured" => every!(measured, measured.acquire(Demand::ONE.max_wait(LONG)).await.unwrap()),
            "tracked" => every!(tracked, tracked.acquire(Demand::ONE).await.unwrap()),
            "fixed" => every!(fixed, fixed.acquire(Demand::ONE).await.unwrap()),
            other => unreachable!("no rung {other}"),
        }
        if let Some(timer) = timer {
            timer.abort();
        }
    }
}

async fn all<F: Future<Output = ()> + Send + 'static>(tasks: u64, work: impl Fn() -> F) {
    let tasks: Vec<_> = (0..tasks).map(|_| tokio::spawn(work())).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Nanoseconds an admission: of the wall's clock, and of the processor.
type Cost = (f64, f64);

fn cost(runtime: &Runtime, subjects: &Subjects, rung: &str) -> Cost {
    let (start, before) = (Instant::now(), processor());
    runtime.block_on(subjects.run(rung, TASKS, ROUNDS));
    let each = |nanos: f64| nanos / (TASKS * ROUNDS) as f64;
    (each(start.elapsed().as_nanos() as f64), each(processor().saturating_sub(before) as f64))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let subjects = Subjects::new();
    if let Some((rung, rounds)) = count::asked() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        return count::repeat(1, || runtime.block_on(subjects.run(&rung, 8, rounds / 8)));
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let is_wanted =
        |rung: &str| rung == "semaphore" || wanted.is_empty() || wanted.iter().any(|name| name == rung);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let mut costs: [Vec<Cost>; RUNGS.len()] = Default::default();
    for run in 0..=RUNS {
        for ((rung, _), costs) in RUNGS.iter().zip(&mut costs).filter(|((rung, _), _)| is_wanted(rung)) {
            let cost = cost(&runtime, &subjects, rung);
            if run > 0 {
                costs.push(cost);
            }
        }
    }
    let counted = wanted.is_empty() && count::available();
    println!(
        "{:<30}{:>14}{:>9}{:>9}{:>9}{:>14}{:>14}",
        "", "admissions/s", "pace", "CPU ns", "", "both ran", "instructions"
    );
    for ((rung, name), own) in RUNGS.iter().zip(&costs).filter(|((rung, _), _)| is_wanted(rung)) {
        let pairs = || costs[0].iter().zip(own);
        let both = |cost: &Cost| cost.1 > 1.75 * cost.0;
        let both: Vec<f64> = pairs()
            .filter(|(plain, own)| both(plain) && both(own))
            .map(|(plain, own)| plain.0 / own.0)
            .collect();
        println!(
            "{name:<30}{:>14.0}{:>7.2} x{:>9.0}{:>7.2} x{:>7.2} x of {:>2}{:>14.0}",
            1e9 / median(own.iter().map(|cost| cost.0).collect()),
            median(pairs().map(|(plain, own)| plain.0 / own.0).collect()),
            median(own.iter().map(|cost| cost.1).collect()),
            median(pairs().map(|(plain, own)| plain.1 / own.1).collect()),
            median(both.clone()),
            both.len(),
            if counted { count::per_operation(rung) } else { f64::NAN },
        );
    }
}
