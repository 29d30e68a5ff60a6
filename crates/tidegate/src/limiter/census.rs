//! How much is held, by whom, and who waits: figures and lists of one moment.

#[cfg(feature = "gate")]
use std::time::Duration;

#[cfg(feature = "gate")]
use crate::demand::Demand;
use crate::sync::lock;

#[cfg(feature = "gate")]
use super::builder::QueueConfig;
use super::desk::Desk;
use super::limiter::Limiter;
use super::occupants::Occupant;
use super::shared::held;
use super::state::MAX_LIMIT;
use super::stats::LimiterStats;

/// Everybody who holds or waits, with the figures of the same moment; made by [`Limiter::occupants`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Occupants {
    /// The figures.
    pub stats: LimiterStats,
    /// Who holds capacity, in no order.
    pub holders: Vec<Occupant>,
    /// Who waits, the highest class first, by arrival inside a class.
    pub waiters: Vec<Occupant>,
}

/// Counting. Nothing here waits, reserves, or registers anything.
impl Limiter {
    /// The largest limit: 2⁶⁰ − 1 units, as good as none. Work is then only counted, and listed.
    pub const MAX_LIMIT: u64 = MAX_LIMIT;

    /// The limit in force, units. One read.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.shared().limit()
    }

    /// Units held, also those beyond the limit after it was lowered. Two reads, which a change of the limit may
    /// come between: [`stats`](Self::stats) has figures that fit together.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        held(self.limit(), self.shared().gate.read().free())
    }

    /// Units free; 0 while more is held than the limit allows. One read.
    #[must_use]
    pub fn available(&self) -> u64 {
        u64::try_from(self.shared().gate.read().free()).unwrap_or(0)
    }

    /// How callers wait, for a second limiter before the same work.
    #[cfg(feature = "gate")]
    pub(crate) fn queue(&self) -> QueueConfig {
        let shared = self.shared();
        QueueConfig { capacity: shared.queue_capacity, max_wait: shared.max_wait, patience: shared.patience }
    }

    /// The longest wait that `demand` may have here.
    #[cfg(feature = "gate")]
    pub(crate) fn longest_wait(&self, demand: &Demand) -> Duration {
        let queue = Duration::from_nanos(self.shared().max_wait);
        demand.max_wait.map_or(queue, |own| own.min(queue))
    }

    /// Who holds capacity, in no order. Empty unless [`track_occupants`](crate::LimiterBuilder::track_occupants)
    /// was asked for.
    #[must_use]
    pub fn holders(&self) -> Vec<Occupant> {
        let now = self.shared().clock.now();
        holders(&lock(&self.shared().desk), now)
    }

    /// Who waits, the highest class first, by arrival inside a class.
    #[must_use]
    pub fn waiters(&self) -> Vec<Occupant> {
        let now = self.shared().clock.now();
        waiters(&lock(&self.shared().desk), now)
    }

    /// Holders, waiters and figures of one and the same moment.
    ///
    /// ```
    /// use tidegate::{Demand, Limiter};
    ///
    /// let limiter = Limiter::builder().limit(2).track_occupants(true).build()?;
    /// let _permit = limiter.try_acquire(Demand::ONE.holder("backup"))?;
    /// let now = limiter.occupants();
    /// assert_eq!((now.stats.in_flight, now.stats.available), (1, 1));
    /// assert_eq!(now.holders[0].who, "backup");
    /// assert!(now.waiters.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn occupants(&self) -> Occupants {
        let now = self.shared().clock.now();
        let desk = lock(&self.shared().desk);
        Occupants {
            stats: self.shared().stats_at(&desk),
            holders: holders(&desk, now),
            waiters: waiters(&desk, now),
        }
    }
}

fn holders(desk: &Desk, now: u64) -> Vec<Occupant> {
    desk.register
        .iter()
        .map(|holder| Occupant::new(&holder.who, holder.weight, holder.class, holder.since, now))
        .collect()
}

fn waiters(desk: &Desk, now: u64) -> Vec<Occupant> {
    desk.queue
        .iter()
        .map(|entry| Occupant::new(entry.value.who(), entry.weight, entry.class, entry.since, now))
        .collect()
}
