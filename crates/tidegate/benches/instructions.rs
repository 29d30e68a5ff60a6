//! Instructions per operation, counted by valgrind's callgrind: steady on a busy machine.
//!
//! `cargo bench -p tidegate --bench instructions`. The cost of the empty loop is taken off. Exits with 1 if a bar is
//! missed, with 0 if valgrind is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a program of its own: it may stop where it stands

mod count;

use std::hint::black_box;
use std::process::ExitCode;

use tidegate::limit::{Fixed, Knee};
use tidegate::{Demand, Limiter};
use tokio::sync::Semaphore;

use count::{asked, available, per_operation, repeat};

/// `try_acquire` and drop, as a multiple of the semaphore's.
const TAKE_BAR: f64 = 1.3;
/// `readiness` in the ready case.
const READY_BAR: f64 = 15.0;

fn run(case: &str, rounds: u64) {
    let semaphore = Semaphore::new(100);
    let fixed = Limiter::fixed(100);
    let tracked = Limiter::builder().limit(100).track_occupants(true).build().unwrap();
    let adaptive = Limiter::adaptive(Fixed::new(100));
    let knee = Limiter::adaptive(Knee::new());
    match case {
        "empty" => repeat(rounds, || {}),
        "semaphore" => repeat(rounds, || drop(black_box(semaphore.try_acquire()))),
        "fixed" => repeat(rounds, || drop(black_box(fixed.try_acquire(Demand::ONE)))),
        "tracked" => repeat(rounds, || drop(black_box(tracked.try_acquire(Demand::ONE)))),
        "adaptive" => repeat(rounds, || drop(black_box(adaptive.try_acquire(Demand::ONE)))),
        "knee" => repeat(rounds, || black_box(knee.try_acquire(Demand::ONE)).unwrap().success()),
        "readiness" => repeat(rounds, || _ = black_box(&fixed.readiness())),
        "readiness_adaptive" => repeat(rounds, || _ = black_box(&adaptive.readiness())),
        other => unreachable!("no case {other}"),
    }
}

fn main() -> ExitCode {
    if let Some((case, rounds)) = asked() {
        run(&case, rounds);
        return ExitCode::SUCCESS;
    }
    if !available() {
        return ExitCode::SUCCESS;
    }
    let empty = per_operation("empty");
    let cost = |case| per_operation(case) - empty;
    let semaphore = cost("semaphore");
    println!("{:<42}{semaphore:>8.1} instructions", "semaphore: try_acquire + drop");
    let fixed = cost("fixed");
    let ready = cost("readiness");
    for (name, value) in [
        ("fixed: try_acquire + drop", fixed),
        ("tracked: try_acquire + drop", cost("tracked")),
        ("adaptive: try_acquire + drop", cost("adaptive")),
        // What the algorithm costs that the gateway has, of work that was done.
        ("Knee, idle: try_acquire + success", cost("knee")),
    ] {
        println!("{name:<42}{value:>8.1} instructions{:>8.2} x", value / semaphore);
    }
    println!("{:<42}{ready:>8.1} instructions", "fixed: readiness, ready");
    println!("{:<42}{:>8.1} instructions", "adaptive: readiness, ready", cost("readiness_adaptive"));
    let holds = fixed <= TAKE_BAR * semaphore && ready <= READY_BAR;
    println!(
        "bars: fixed <= {TAKE_BAR} x semaphore, readiness <= {READY_BAR}: {}",
        if holds { "hold" } else { "MISSED" }
    );
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
