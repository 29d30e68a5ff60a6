//! The bars: goodput, latency and the truth of predictions, as means over twenty seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::scenario::{Scenario, all};
use super::world::{Seen, run};

const SEEDS: u64 = 20;
/// Goodput of all scenarios together.
const TOGETHER: f64 = 0.97;
/// The share of waits that end by their predicted p90. Less where a run ends soon after a change.
const COVERED: std::ops::Range<f64> = 0.82..0.95;

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
    let mut seen = seen.into_inner().unwrap();
    seen.iter_mut().for_each(|seen| seen.sort_by_key(|seen| seen.seed));
    seen
}

fn mean(seen: &[Seen], of: impl Fn(&Seen) -> f64) -> f64 {
    seen.iter().map(of).sum::<f64>() / seen.len() as f64
}

fn print(scenario: &Scenario, seen: &[Seen]) {
    println!(
        "{:34} {:8.4} {:8.4} {:7.1} {:7.1} {:7.1} {:7.1} {:7.3} {:7.4} {:7.4} {:7.4} {:6.3}",
        scenario.name,
        mean(seen, |seen| seen.goodput),
        seen.iter().map(|seen| seen.goodput).fold(f64::INFINITY, f64::min),
        mean(seen, |seen| seen.p50),
        mean(seen, |seen| seen.p99),
        mean(seen, |seen| seen.limit),
        mean(seen, |seen| seen.in_flight),
        mean(seen, |seen| seen.coverage),
        mean(seen, |seen| seen.refused),
        mean(seen, |seen| seen.wasted),
        mean(seen, |seen| seen.queued),
        mean(seen, |seen| seen.alone),
    );
}

/// What a scenario misses of its bars.
fn missed(scenario: &Scenario, seen: &[Seen]) -> Option<String> {
    let goodput = mean(seen, |seen| seen.goodput);
    let p99 = mean(seen, |seen| seen.p99);
    let coverage = mean(seen, |seen| seen.coverage);
    let wasted = mean(seen, |seen| seen.wasted);
    let queued = mean(seen, |seen| seen.queued);
    let alone = mean(seen, |seen| seen.alone);
    let kept = goodput >= scenario.least
        && p99 <= scenario.slowest
        && wasted <= scenario.wasted
        && queued <= scenario.queued
        && scenario.alone.contains(&alone)
        // Where hardly anybody waits there is little to predict.
        && (COVERED.contains(&coverage) || queued < 0.01);
    (!kept).then(|| {
        let name = scenario.name;
        format!(
            "{name}: goodput {goodput:.4}, p99 {p99:.1} ms, covered {coverage:.3}, wasted {wasted:.4}, \
             queued {queued:.4}, alone {alone:.3}"
        )
    })
}

/// For work on the algorithm: `TIDEGATE_SIM=step` runs only the scenarios with that in their name,
/// `TIDEGATE_SEEDS=60` takes more seeds, `TIDEGATE_TRACE=3` prints seed 3 of the first scenario over time.
#[test]
fn every_scenario_keeps_its_bars() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let only = std::env::var("TIDEGATE_SIM").unwrap_or_default();
    let scenarios: Vec<Scenario> =
        all().into_iter().filter(|scenario| scenario.name.contains(&only)).collect();
    if let Some(seed) = number("TIDEGATE_TRACE") {
        run(&scenarios[0], seed, true);
    }
    let seen = survey(&scenarios, number("TIDEGATE_SEEDS").unwrap_or(SEEDS));
    println!(
        "{:34} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6}",
        "",
        "goodput",
        "worst",
        "p50",
        "p99",
        "limit",
        "held",
        "covered",
        "refused",
        "wasted",
        "queued",
        "alone"
    );
    scenarios.iter().zip(&seen).for_each(|(scenario, seen)| print(scenario, seen));
    // A scenario that asks for less says why: there is no steady state in it to compare with.
    let usual: Vec<Seen> = scenarios
        .iter()
        .zip(&seen)
        .filter(|(scenario, _)| scenario.least >= 0.9)
        .flat_map(|(_, seen)| seen.clone())
        .collect();
    let together = mean(&usual, |seen| seen.goodput);
    println!("{:34} {together:8.4}", "together");
    let missed: Vec<String> =
        scenarios.iter().zip(&seen).filter_map(|(scenario, seen)| missed(scenario, seen)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert!(together >= TOGETHER || !only.is_empty(), "{together:.4}");
}
