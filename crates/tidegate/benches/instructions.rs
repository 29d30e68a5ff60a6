//! Instructions per operation, counted by valgrind's callgrind: steady on a busy machine.
//!
//! `cargo bench -p tidegate --bench instructions` runs this program again under valgrind, once with N and once
//! with 2N rounds of each operation; the difference divided by N is the cost of one, without start and end. The
//! cost of the empty loop is taken off. Exits with 1 if a bar is missed, with 0 if valgrind is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a program of its own: it may stop where it stands

use std::hint::black_box;
use std::process::{Command, ExitCode};

use tidegate::limit::Fixed;
use tidegate::{Demand, Limiter};
use tokio::sync::Semaphore;

const ROUNDS: u64 = 20_000;
/// `try_acquire` and drop, as a multiple of the semaphore's.
const TAKE_BAR: f64 = 1.3;
/// `readiness` in the ready case.
const READY_BAR: f64 = 15.0;

fn run(case: &str, rounds: u64) {
    let semaphore = Semaphore::new(100);
    let fixed = Limiter::fixed(100);
    let tracked = Limiter::builder().limit(100).track_occupants(true).build().unwrap();
    let adaptive = Limiter::adaptive(Fixed::new(100));
    match case {
        "empty" => repeat(rounds, || {}),
        "semaphore" => repeat(rounds, || drop(black_box(semaphore.try_acquire()))),
        "fixed" => repeat(rounds, || drop(black_box(fixed.try_acquire(Demand::ONE)))),
        "tracked" => repeat(rounds, || drop(black_box(tracked.try_acquire(Demand::ONE)))),
        "adaptive" => repeat(rounds, || drop(black_box(adaptive.try_acquire(Demand::ONE)))),
        "readiness" => repeat(rounds, || _ = black_box(&fixed.readiness())),
        "readiness_adaptive" => repeat(rounds, || _ = black_box(&adaptive.readiness())),
        other => unreachable!("no case {other}"),
    }
}

#[inline(never)]
fn repeat(rounds: u64, mut operation: impl FnMut()) {
    for round in 0..rounds {
        black_box(round);
        operation();
    }
}

/// Instructions of a whole run.
fn count(case: &str, rounds: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["count", case, &rounds.to_string()])
        .output()
        .expect("valgrind starts");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = report.lines().find(|line| line.contains("Collected")).unwrap_or_else(|| panic!("{report}"));
    let digits: String = line.rsplit(':').next().unwrap_or("").chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number of instructions")
}

fn per_operation(case: &str) -> f64 {
    (count(case, 2 * ROUNDS) - count(case, ROUNDS)) as f64 / ROUNDS as f64
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, "count", case, rounds] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        run(case, rounds.parse().expect("a number of rounds"));
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: nothing counted (apt-get install valgrind)");
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
