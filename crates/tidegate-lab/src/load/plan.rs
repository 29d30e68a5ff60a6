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

/// The plan, one request after the other; takes no memory of its own.
#[derive(Debug)]
pub(crate) struct Plan {
    rate: Rate,
    arrivals: Arrivals,
    leave: Option<Leave>,
    end: Duration,
    at: Duration,
    random: Random,
}

impl Plan {
    pub(crate) fn new(
        rate: Rate,
        arrivals: Arrivals,
        leave: Option<Leave>,
        end: Duration,
        seed: u64,
    ) -> Self {
        Self { rate, arrivals, leave, end, at: Duration::ZERO, random: Random::new(seed) }
    }
}

impl Iterator for Plan {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let gap = match self.arrivals {
            Arrivals::Poisson => self.random.exponential(),
            Arrivals::Constant => 1.0,
        };
        self.at += Duration::from_secs_f64(gap / self.rate.at(self.at));
        let leaves = self.leave.filter(|leave| self.random.unit() <= leave.share).map(|leave| leave.after);
        (self.at < self.end).then_some(Due { at: self.at, leaves })
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
    fn rates_are_kept() {
        assert_eq!(plan("100", Arrivals::Constant, 1).len(), 1999);
        let dues = plan("100,10s:400", Arrivals::Poisson, 1);
        let early = dues.iter().filter(|due| due.at < Duration::from_secs(10)).count();
        assert!((900..1100).contains(&early) && (3800..4200).contains(&(dues.len() - early)));
        let leaving = dues.iter().filter(|due| due.leaves.is_some()).count() as f64 / dues.len() as f64;
        assert!((leaving - 0.3).abs() < 0.03, "{leaving}");
    }
}
