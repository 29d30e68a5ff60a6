//! What a lease costs: instructions, counted by valgrind, and time beside tokio's semaphore.
//!
//! `cargo bench -p tidegate --features stream --bench budget`. The cost of the empty loop is taken off the instructions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a program of its own: it may stop where it stands

mod count;

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tidegate::budget::Budget;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use count::{asked, available, per_operation, repeat};

const LIMIT: u64 = 1 << 30;
const FRAME: u64 = 16 << 10;

/// A node so many levels below the topmost.
fn below(depth: usize) -> Budget {
    (0..depth).fold(Budget::new("process", LIMIT), |above, _| above.child("below").limit(LIMIT).build())
}

fn run(case: &str, rounds: u64) {
    let semaphore = Semaphore::new(LIMIT as usize);
    let full = below(3);
    let _all = full.try_lease(LIMIT - FRAME / 2).unwrap();
    match case {
        "empty" => repeat(rounds, || {}),
        "semaphore" => repeat(rounds, || drop(black_box(semaphore.try_acquire_many(FRAME as u32)))),
        "depth 0" | "depth 1" | "depth 3" => {
            let budget = below(case.as_bytes()[6] as usize - usize::from(b'0'));
            repeat(rounds, || drop(black_box(budget.try_lease(FRAME))));
        }
        "depth 3, holding" => {
            let budget = below(3);
            let _held = budget.try_lease(1).unwrap();
            repeat(rounds, || drop(black_box(budget.try_lease(FRAME))));
        }
        "grow and shrink" => {
            let mut lease = below(3).try_lease(1).unwrap();
            repeat(rounds, || {
                lease.try_grow(FRAME).unwrap();
                lease.shrink_to(1);
            });
        }
        "refused" => repeat(rounds, || drop(black_box(full.try_lease(FRAME)))),
        other => unreachable!("no case {other}"),
    }
}

/// Operations a second of `threads` together, in millions.
fn rate(threads: usize, operation: impl Fn() + Send + Sync + 'static) -> f64 {
    const ROUNDS: u32 = 400_000;
    let operation = Arc::new(operation);
    let start = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let operation = Arc::clone(&operation);
            thread::spawn(move || (0..ROUNDS).for_each(|_| operation()))
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let elapsed = start.elapsed().max(Duration::from_nanos(1));
    f64::from(ROUNDS) * threads as f64 / elapsed.as_secs_f64() / 1e6
}

fn throughput() {
    for threads in [1, 2, 4] {
        let mut ratios = Vec::new();
        let mut rates = Vec::new();
        for _ in 0..9 {
            let semaphore = Arc::new(Semaphore::new(LIMIT as usize));
            let theirs = rate(threads, move || drop(black_box(semaphore.try_acquire_many(FRAME as u32))));
            let budget = below(3);
            let ours = rate(threads, move || drop(black_box(budget.try_lease(FRAME))));
            ratios.push(ours / theirs);
            rates.push(ours);
        }
        ratios.sort_by(f64::total_cmp);
        rates.sort_by(f64::total_cmp);
        println!(
            "{threads} threads, one tree, depth 3: {:.1} million a second; {:.2} of a semaphore's ({:.2} to {:.2}, 9 pairs)",
            rates[4], ratios[4], ratios[0], ratios[8]
        );
    }
}

fn main() {
    if let Some((case, rounds)) = asked() {
        return run(&case, rounds);
    }
    if available() {
        let empty = per_operation("empty");
        for case in
            ["semaphore", "depth 0", "depth 1", "depth 3", "depth 3, holding", "grow and shrink", "refused"]
        {
            println!("{case:<24}{:>8.1} instructions", per_operation(case) - empty);
        }
    }
    throughput();
}
