//! Instructions of an operation, counted by valgrind's callgrind: the program runs itself again under valgrind,
//! once with N and once with 2N rounds; the difference divided by N is the cost of one, without start and end.

use std::hint::black_box;
use std::process::Command;

const ROUNDS: u64 = 20_000;

/// `rounds` times `operation`.
#[inline(never)]
pub(crate) fn repeat(rounds: u64, mut operation: impl FnMut()) {
    for round in 0..rounds {
        black_box(round);
        operation();
    }
}

/// The case and the rounds that this run is to do under valgrind, if it is such a run.
pub(crate) fn asked() -> Option<(String, u64)> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next()?.as_str(), arguments.next(), arguments.next()) {
        ("count", Some(case), Some(rounds)) => Some((case, rounds.parse().expect("a number of rounds"))),
        _ => None,
    }
}

/// Is valgrind here? Says so if not.
pub(crate) fn available() -> bool {
    let here = Command::new("valgrind").arg("--version").output().is_ok();
    if !here {
        println!("valgrind is not installed: nothing counted (apt-get install valgrind)");
    }
    here
}

/// Instructions of one operation of `case`, with those of the loop.
pub(crate) fn per_operation(case: &str) -> f64 {
    (count(case, 2 * ROUNDS) - count(case, ROUNDS)) as f64 / ROUNDS as f64
}

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
