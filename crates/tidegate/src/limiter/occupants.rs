//! What a limiter shows of itself: figures, holders, waiters.

use std::borrow::Cow;
use std::time::Duration;

use tidegate_control::queue::Criticality;

use crate::refused::Reason;

/// A limiter's figures at one moment. Counters count since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterStats {
    /// Units that may be held at once.
    pub limit: u64,
    /// Units held.
    pub in_flight: u64,
    /// Units free for a newcomer.
    pub available: u64,
    /// Units held above the limit, because it was lowered while they were.
    pub overcommitted: u64,
    /// Callers that wait.
    pub waiting: u64,
    /// Callers that can wait at most.
    pub queue_capacity: u64,
    /// Callers admitted.
    pub admitted: u64,
    /// Tickets given up by [`Ticket::decline`](crate::Ticket::decline).
    pub declined: u64,
    /// Tickets dropped unserved.
    pub canceled: u64,
    pub(crate) refused: [u64; Reason::ALL.len()],
}

impl LimiterStats {
    /// Callers refused for `reason`.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused.get(reason.index()).copied().unwrap_or_default()
    }

    /// Callers refused for any reason.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum()
    }
}

/// Who holds capacity, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupant {
    /// The name given by [`Demand::holder`](crate::Demand::holder), empty if none was.
    pub who: Cow<'static, str>,
    /// Units held or asked for.
    pub weight: u64,
    /// Its class.
    pub class: Criticality,
    /// How long it has held, or waited.
    pub age: Duration,
}
