//! The bars: goodput, the mean of twenty seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::scenario::{Scenario, all};
use super::world::{Seen, run};

const SEEDS: u64 = 20;
/// All scenarios together.
const TOGETHER: f64 = 0.97;

/// Runs every seed of every scenario on two threads.
fn survey(scenarios: &[Scenario], seeds: u64) -> Vec<Vec<Seen>> {
    let jobs: Vec<(usize, u64)> =
        (0..scenarios.len()).flat_map(|number| (0..seeds).map(move |seed| (number, seed))).collect();
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(vec![Vec::new(); scenarios.len()]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((number, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run(&scenarios[*number], *seed, false);
                    seen.lock().unwrap()[*number].push(result);
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

fn mean(seen: &[Seen], of: impl Fn(&Seen) -> f64) -> f64 {
    seen.iter().map(of).sum::<f64>() / seen.len() as f64
}

/// `TIDEGATE_SIM=name` runs the scenarios whose name contains `name`, and traces the first seed.
#[test]
fn every_scenario_keeps_its_goodput() {
    let only = std::env::var("TIDEGATE_SIM").unwrap_or_default();
    let scenarios: Vec<Scenario> =
        all().into_iter().filter(|scenario| scenario.name.contains(&only)).collect();
    if let Some(seed) = std::env::var("TIDEGATE_TRACE").ok().and_then(|s| s.parse().ok()) {
        run(&scenarios[0], seed, true);
    }
    let seeds = std::env::var("TIDEGATE_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SEEDS);
    let seen = survey(&scenarios, seeds);
    let mut missed = Vec::new();
    println!(
        "{:34} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7}",
        "", "goodput", "worst", "p50", "p99", "limit", "held"
    );
    for (scenario, seen) in scenarios.iter().zip(&seen) {
        let goodput = mean(seen, |seen| seen.goodput);
        let worst = seen.iter().map(|seen| seen.goodput).fold(f64::INFINITY, f64::min);
        println!(
            "{:34} {:8.4} {:8.4} {:7.1} {:7.1} {:7.1} {:7.1} {:7.3} {:7.4}",
            scenario.name,
            goodput,
            worst,
            mean(seen, |seen| seen.p50),
            mean(seen, |seen| seen.p99),
            mean(seen, |seen| seen.limit),
            mean(seen, |seen| seen.in_flight),
            mean(seen, |seen| seen.coverage),
            mean(seen, |seen| seen.refused),
        );
        if !only.is_empty() {
            println!(
                "{:?}",
                seen.iter()
                    .map(|s| (s.seed, (s.goodput * 1000.0) as u64, s.p99 as u64, s.limit as u64))
                    .collect::<Vec<_>>()
            );
        }
        if goodput < scenario.least {
            missed.push(format!("{}: {goodput:.4}", scenario.name));
        }
    }
    let together = mean(&seen.concat(), |seen| seen.goodput);
    println!("{:34} {together:8.4}", "together");
    assert!(missed.is_empty(), "{missed:?}");
    assert!(together >= TOGETHER || !only.is_empty(), "{together:.4}");
}
