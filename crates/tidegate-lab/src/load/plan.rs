//! When each request is due. The same seed gives the same arrivals, whatever answers them.

use std::time::Duration;

use crate::random::Random;
use crate::spec::{Leave, Rate};

/// How arrivals follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrivals {
    /// Independent clients: exponential gaps.
    Poisson,
    /// Equal gaps.
    Constant,
}

/// One request of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) at: Duration,
    /// When the client gives up, counted from `at`, if it is one of those.
    pub(crate) leaves: Option<Duration>,
}

/// Who among the clients leaves early.
#[derive(Debug)]
pub(crate) struct Patience {
    leave: Option<Leave>,
    random: Random,
}

impl Patience {
    pub(crate) fn new(leave: Option<Leave>, seed: u64) -> Self {
        Self { leave, random: Random::new(seed) }
    }

    /// When the next client leaves, counted from its request, if it is one of those.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        self.leave.filter(|leave| self.random.unit() <= leave.share).map(|leave| leave.after)
    }
}

/// The plan, one request after the other; takes no memory of its own.
#[derive(Debug)]
pub(crate) struct Plan {
    rate: Rate,
    arrivals: Arrivals,
    end: Duration,
    at: Duration,
    random: Random,
    patience: Patience,
}

impl Plan {
    pub(crate) fn new(
        rate: Rate,
        arrivals: Arrivals,
        leave: Option<Leave>,
        end: Duration,
        seed: u64,
    ) -> Self {
        // Apart, so that who leaves does not change when others come.
        let patience = Patience::new(leave, !seed);
        Self { rate, arrivals, end, at: Duration::ZERO, random: Random::new(seed), patience }
    }
}

impl Iterator for Plan {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let gap = match self.arrivals {
            Arrivals::Poisson => self.random.exponential(),
            Arrivals::Constant => 1.0,
        };
        self.at = self.rate.after(self.at, gap)?;
        (self.at < self.end).then(|| Due { at: self.at, leaves: self.patience.next() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rate: &str, arrivals: Arrivals, seed: u64) -> Vec<Due> {
        let leave = Some(Leave { share: 0.3, after: Duration::from_millis(60) });
        Plan::new(rate.parse().unwrap(), arrivals, leave, Duration::from_secs(20), seed).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals() {
        assert_eq!(plan("100,5s:400", Arrivals::Poisson, 3), plan("100,5s:400", Arrivals::Poisson, 3));
        assert_ne!(plan("100", Arrivals::Poisson, 3), plan("100", Arrivals::Poisson, 4));
    }

    #[test]
    fn every_step_gets_what_it_should_whatever_came_before() {
        for seed in 1..=20 {
            let dues = plan("2,5s:2000,10s:0,15s:500", Arrivals::Poisson, seed);
            for (from, to, expected) in [(0, 5, 10.0), (5, 10, 10_000.0), (10, 15, 0.0), (15, 20, 2500.0)] {
                let step = Duration::from_secs(from)..Duration::from_secs(to);
                let came = dues.iter().filter(|due| step.contains(&due.at)).count() as f64;
                let sigmas = (came - expected).abs() / f64::max(expected, 1e-9).sqrt();
                assert!(sigmas <= 4.0, "seed {seed}, {from} s to {to} s: {came} for {expected}");
            }
            // The first second of the fast step as well: nothing is left over from the slow one.
            let first = dues.iter().filter(|due| due.at.as_secs() == 5).count() as f64;
            assert!((first - 2000.0).abs() <= 4.0 * 2000f64.sqrt(), "seed {seed}: {first}");
        }
    }

    #[test]
    fn rates_are_kept() {
        assert_eq!(plan("100", Arrivals::Constant, 1).len(), 1999);
        let dues = plan("100,10s:400", Arrivals::Poisson, 1);
        let early = dues.iter().filter(|due| due.at < Duration::from_secs(10)).count();
        assert!((900..1100).contains(&early) && (3800..4200).contains(&(dues.len() - early)));
        let leaving = dues.iter().filter(|due| due.leaves.is_some()).count() as f64 / dues.len() as f64;
        assert!((leaving - 0.3).abs() < 0.03, "{leaving}");
    }
}
