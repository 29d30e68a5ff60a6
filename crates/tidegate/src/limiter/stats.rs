//! Figures of a limiter.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::refused::Reason;

/// The limiter's state and its counts since it was made. Counts only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterStats {
    /// The limit in force, units.
    pub limit: u64,
    /// Units held.
    pub in_flight: u64,
    /// Units free.
    pub available: u64,
    /// Units held beyond the limit: the debt after a shrink, paid before anybody else is admitted.
    pub overcommitted: u64,
    /// Callers in the queue.
    pub waiting: u64,
    /// The most callers the queue holds.
    pub queue_capacity: u64,
    /// The most units ever held at once.
    pub peak_in_flight: u64,
    /// Callers admitted.
    pub admitted: u64,
    /// Tickets given up by their callers.
    pub declined: u64,
    /// Tickets whose time ran out.
    pub expired: u64,
    /// Tickets dropped while waiting: the caller vanished.
    pub canceled: u64,
    /// Callers that a limiter in dry run admitted although it would have refused them.
    pub would_refuse: u64,
    pub(super) refused: [u64; Reason::ALL.len()],
}

impl LimiterStats {
    /// Callers refused for this reason; in dry run, those that would have been.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused.get(reason.index()).copied().unwrap_or(0)
    }

    /// Callers refused, for whatever reason.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum()
    }
}

/// The counts, as they are kept.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) admitted: AtomicU64,
    /// Units admitted beyond one per caller.
    pub(super) extra_units: AtomicU64,
    pub(super) peak: AtomicU64,
    pub(super) declined: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) canceled: AtomicU64,
    pub(super) would_refuse: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

impl Counts {
    /// Counts an admission that leaves `in_flight` units held.
    #[inline]
    pub(super) fn admit(&self, weight: u64, in_flight: u64) {
        self.admitted.fetch_add(1, Relaxed);
        if weight != 1 {
            self.extra_units.fetch_add(weight - 1, Relaxed);
        }
        if in_flight > self.peak.load(Relaxed) {
            self.peak.fetch_max(in_flight, Relaxed);
        }
    }

    /// Counts `callers` who took `units` over from others: no more are held than before.
    pub(super) fn handed(&self, callers: u64, units: u64) {
        self.admitted.fetch_add(callers, Relaxed);
        if units != callers {
            self.extra_units.fetch_add(units.wrapping_sub(callers), Relaxed);
        }
    }

    pub(super) fn refuse(&self, reason: Reason) {
        if let Some(count) = self.refused.get(reason.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Units admitted since the limiter was made.
    pub(super) fn units(&self) -> u64 {
        self.admitted.load(Relaxed).wrapping_add(self.extra_units.load(Relaxed))
    }

    pub(super) fn read_into(&self, stats: &mut LimiterStats) {
        stats.peak_in_flight = self.peak.load(Relaxed);
        stats.admitted = self.admitted.load(Relaxed);
        stats.declined = self.declined.load(Relaxed);
        stats.expired = self.expired.load(Relaxed);
        stats.canceled = self.canceled.load(Relaxed);
        stats.would_refuse = self.would_refuse.load(Relaxed);
        for (to, from) in stats.refused.iter_mut().zip(&self.refused) {
            *to = from.load(Relaxed);
        }
    }
}
