//! A limit that an operator sets.

use super::{Explanation, LimitAlgorithm};
use crate::sample::Sample;

/// Always the same limit. For a resource whose size is known: a pool of 50 connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    limit: u64,
}

impl Fixed {
    /// A limit of `limit` units; 0 is raised to 1, because nothing would ever be admitted.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit: limit.max(1) }
    }
}

impl LimitAlgorithm for Fixed {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn on_sample(&mut self, _sample: &Sample) -> u64 {
        self.limit
    }

    fn explain(&self) -> Explanation {
        Explanation {
            algorithm: "fixed",
            phase: "fixed",
            limit: self.limit,
            estimate: self.limit as f64,
            ..Explanation::default()
        }
    }
}
