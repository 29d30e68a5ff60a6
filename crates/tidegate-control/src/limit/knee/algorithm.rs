//! The algorithm as a limiter holds it.

use crate::limit::{Bounds, Explanation, LimitAlgorithm};
use crate::sample::{Sample, View};

use super::passive::Passive;
use super::shared::Shared;
use super::single::Single;

/// Where the limit starts: few enough for nearly any service, and the slow start soon makes it more. Measured in
/// simulation against 16: a crowd of ten times what ten workers carry has a 99th percentile of 140 ms instead of 186,
/// and 200 workers of 100 ms are used to 89 % in their first five seconds instead of 91.
const START: u64 = 8;
/// The default ceiling is out of the way: what file descriptors and memory can carry is for the caller to say
/// ([`Knee::ceiling`]).
const HIGHEST: u64 = 1_000_000;

/// Finds the concurrency at which more would buy no more throughput, and follows it.
///
/// Needs no number. Measures with the limit itself, two nearby values in turn, while the limit holds callers back;
/// while it does not, nothing is moved. One owner of an origin takes [`Knee::new`]; several (replicas, or several
/// gates before one database) must take [`Knee::shared`], all of them, and clocks within some 20 ms of each other:
/// alone, each would see only its own share and climb without end.
///
/// ```
/// use tidegate_control::limit::{Knee, LimitAlgorithm};
///
/// let knee = Knee::new();
/// assert_eq!(knee.limit(), 8);
/// assert_eq!(knee.explain().phase, "idle");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Knee {
    law: Law,
}

#[derive(Clone, Debug, PartialEq)]
enum Law {
    Single(Box<Single>),
    Shared(Box<Shared>),
    Passive(Box<Passive>),
}

impl Knee {
    /// For the only owner of an origin. Starts at 8, between 1 and 1,000,000.
    #[must_use]
    pub fn new() -> Self {
        Self { law: Law::Single(Box::new(Single::new(Self::default_bounds()))) }
    }

    /// For one of several owners of the same origin: phases come from [`View::unix`], so that all of them move
    /// together. Slower to find the knee than [`Knee::new`], and needs clocks that agree, or an origin that says how
    /// much it has in flight ([`Sample::reported`]). While neither is so the phase is `alone`.
    #[must_use]
    pub fn shared() -> Self {
        Self { law: Law::Shared(Box::new(Shared::new(Self::default_bounds()))) }
    }

    /// Estimates from the traffic alone: the limit never moves for the sake of a measurement, and what has been
    /// learned is lost. Less exact, because only loads that come by themselves can be compared.
    #[must_use]
    pub fn dry_run(self) -> Self {
        Self { law: Law::Passive(Box::new(Passive::new(self.own_bounds()))) }
    }

    /// Where the limit starts and how far it may go. What has been learned is lost.
    #[must_use]
    pub fn bounds(self, bounds: Bounds) -> Self {
        let law = match self.law {
            Law::Single(_) => Law::Single(Box::new(Single::new(bounds))),
            Law::Shared(_) => Law::Shared(Box::new(Shared::new(bounds))),
            Law::Passive(_) => Law::Passive(Box::new(Passive::new(bounds))),
        };
        Self { law }
    }

    /// Not above `most`, wherever it starts otherwise; what a caller can carry. At the ceiling it is measured below it:
    /// alone about every twenty seconds, with others in every second phase. What has been learned is lost.
    #[must_use]
    pub fn ceiling(self, most: u64) -> Self {
        let bounds = self.own_bounds();
        let max = bounds.max.min(most);
        self.bounds(Bounds { start: bounds.start.min(max), min: bounds.min.min(max), max })
    }

    fn default_bounds() -> Bounds {
        Bounds { start: START, min: 1, max: HIGHEST }
    }

    fn own_bounds(&self) -> Bounds {
        match &self.law {
            Law::Single(single) => single.bounds,
            Law::Shared(shared) => shared.bounds,
            Law::Passive(passive) => passive.bounds,
        }
    }
}

impl Default for Knee {
    fn default() -> Self {
        Self::new()
    }
}

impl LimitAlgorithm for Knee {
    fn limit(&self) -> u64 {
        match &self.law {
            Law::Single(single) => single.limit(),
            Law::Shared(shared) => shared.limit(),
            Law::Passive(passive) => passive.limit(),
        }
    }

    fn on_sample(&mut self, sample: &Sample) -> u64 {
        match &mut self.law {
            Law::Single(single) => single.on_sample(sample),
            Law::Shared(shared) => shared.on_sample(sample),
            Law::Passive(passive) => passive.on_sample(sample),
        }
    }

    fn on_pressure(&mut self, at: &View) -> u64 {
        match &mut self.law {
            Law::Single(single) => single.on_pressure(at),
            Law::Shared(shared) => shared.on_pressure(at),
            Law::Passive(passive) => passive.limit(),
        }
    }

    fn on_tick(&mut self, at: &View) -> u64 {
        match &mut self.law {
            Law::Single(single) => single.on_tick(at),
            Law::Shared(shared) => shared.on_tick(at),
            Law::Passive(passive) => passive.limit(),
        }
    }

    fn is_searching(&self) -> bool {
        match &self.law {
            Law::Single(single) => single.is_searching(),
            Law::Shared(shared) => shared.is_searching(),
            Law::Passive(_) => false,
        }
    }

    fn explain(&self) -> Explanation {
        let (phase, estimate, elasticity, throughput, service) = match &self.law {
            Law::Single(s) => (s.phase.name(), s.estimate, s.elasticity, s.throughput, &s.service),
            Law::Shared(s) => (s.phase(), s.estimate, s.elasticity, s.throughput, &s.service),
            Law::Passive(s) => ("passive", s.estimate, s.elasticity, s.throughput, &s.service),
        };
        let at_ceiling = match &self.law {
            Law::Single(single) => single.at_ceiling(),
            Law::Shared(shared) => shared.at_ceiling(),
            Law::Passive(passive) => passive.limit() >= passive.bounds.max,
        };
        Explanation {
            algorithm: "knee",
            phase,
            limit: self.limit(),
            estimate,
            elasticity,
            throughput,
            service: (service.mean() > 0.0).then(|| (service.mean() * 1e9) as u64),
            passive: matches!(self.law, Law::Passive(_)),
            at_ceiling,
        }
    }
}
