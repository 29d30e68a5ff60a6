//! `Limit` beside tower's `ConcurrencyLimit` and `LoadShed`, each around a service that does nothing: instructions
//! of one call, made ready, called and awaited. `cargo bench -p tidegate --features tower --bench layers`.
//!
//! Exits with 1 if the bar is missed, with 0 if valgrind is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a program of its own: it may stop where it stands

mod count;

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

use tidegate::Limiter;
use tidegate::limit::Fixed;
use tidegate::tower::Limit;
use tower::limit::ConcurrencyLimit;
use tower::load_shed::LoadShed;
use tower::{Service, service_fn};

use count::{asked, available, per_operation, repeat};

/// `Limit`, as a multiple of `ConcurrencyLimit` and `LoadShed`.
const BAR: f64 = 1.3;

fn calls<S: Service<u32, Response = u32>>(rounds: u64, mut service: S) {
    let mut cx = Context::from_waker(Waker::noop());
    repeat(rounds, || {
        let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else { panic!("not ready") };
        let future = pin!(service.call(black_box(7)));
        let Poll::Ready(Ok(answer)) = future.poll(&mut cx) else { panic!("no answer") };
        black_box(answer);
    });
}

fn run(case: &str, rounds: u64) {
    let nothing = service_fn(|n: u32| std::future::ready(Ok::<u32, Infallible>(n)));
    match case {
        "bare" => calls(rounds, nothing),
        "tower" => calls(rounds, LoadShed::new(ConcurrencyLimit::new(nothing, 100))),
        "fixed" => calls(rounds, Limit::new(nothing, Limiter::fixed(100))),
        "adaptive" => calls(rounds, Limit::new(nothing, Limiter::adaptive(Fixed::new(100)))),
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
    let bare = per_operation("bare");
    let cost = |case| per_operation(case) - bare;
    let (theirs, fixed) = (cost("tower"), cost("fixed"));
    println!("{:<42}{theirs:>8.1} instructions", "LoadShed<ConcurrencyLimit>");
    for (name, value) in [("Limit, fixed", fixed), ("Limit, adaptive", cost("adaptive"))] {
        println!("{name:<42}{value:>8.1} instructions{:>8.2} x", value / theirs);
    }
    let holds = fixed <= BAR * theirs;
    println!("bar: fixed <= {BAR} x tower's: {}", if holds { "holds" } else { "MISSED" });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
