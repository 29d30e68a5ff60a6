//! How many connections there may be, and what says so.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tidegate_control::sample::Outcome;

use crate::demand::Demand;
use crate::limiter::{Limiter, Permit};
use crate::readiness::Readiness;

use super::kernel;

/// How many connections there may be now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// Connections at a time.
    pub connections: u64,
    /// What sets this number.
    pub by: BoundBy,
}

/// What bounds the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BoundBy {
    /// The limiter of the connections.
    Limit,
    /// The linked limiter: what it can hold and serve in time.
    Linked,
    /// The process's file descriptors.
    Descriptors,
}

/// Why no connection may come in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// As many as there may be.
    Connections,
    /// The linked limiter would refuse what they ask.
    Linked,
    /// File descriptors or memory ran out.
    Short,
    /// No more will be.
    Draining,
}

/// The limiter of the connections, and what bounds them beside it.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) connections: Limiter,
    pub(super) linked: Option<Limiter>,
    /// File descriptors bound them as well.
    pub(super) descriptors: bool,
}

/// Whose turn it is to take a place: two listeners that see the last one must neither both take it nor both leave it, and
/// which limiters they share nobody knows. It is held for a microsecond a connection.
static TURN: Mutex<()> = Mutex::new(());
/// Each connection is a holder of its own.
static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Bounds {
    pub(super) fn new(connections: Limiter, descriptors: bool) -> Self {
        Self { connections, linked: None, descriptors }
    }

    /// The least of the bounds.
    pub(super) fn bound(&self) -> Bound {
        let limit = self.connections.stats().limit;
        let linked = self.linked.as_ref().map_or(u64::MAX, Limiter::room_in_time);
        let descriptors = if self.descriptors { kernel::descriptors() } else { u64::MAX };
        let (connections, by) = [(linked, BoundBy::Linked), (descriptors, BoundBy::Descriptors)]
            .into_iter()
            .fold((limit, BoundBy::Limit), |least, next| if next.0 < least.0 { next } else { least });
        Bound { connections, by }
    }

    /// Connections that may still come in.
    pub(super) fn free(&self) -> u64 {
        self.bound().connections.saturating_sub(self.connections.stats().in_flight)
    }

    /// Will nobody be accepted any more?
    pub(super) fn is_draining(&self) -> bool {
        let drains = |limiter: &Limiter| matches!(limiter.readiness(), Readiness::Draining { .. });
        drains(&self.connections) || self.linked.as_ref().is_some_and(drains)
    }

    /// Why nobody may come in now, if so.
    pub(super) fn full(&self) -> Option<Full> {
        if self.is_draining() {
            Some(Full::Draining)
        } else if self.free() == 0 || !self.connections.readiness().is_ready() {
            Some(Full::Connections)
        } else if self.linked.as_ref().is_some_and(|linked| !linked.readiness().is_accepting()) {
            Some(Full::Linked)
        } else {
            None
        }
    }

    /// A permit for one connection, or why there is none. Nobody is counted as refused: nobody has been yet.
    pub(super) fn admit(&self) -> Result<Permit, Full> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full) = self.full() {
            return Err(full);
        }
        let demand = if self.connections.has_one_permit_per_holder() {
            Demand::ONE.holder(format!("connection {}", NUMBER.fetch_add(1, Relaxed)))
        } else {
            Demand::ONE
        };
        let permit = self.connections.try_acquire(demand).map_err(|_| Full::Connections)?;
        Ok(permit.on_drop(Outcome::Ignore))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::QueueConfig;

    /// Both threads begin a round within nanoseconds.
    fn together(arrived: &AtomicU64, round: u64) {
        arrived.fetch_add(1, Relaxed);
        while arrived.load(Relaxed) < 2 * round {
            std::thread::yield_now();
        }
    }

    #[test]
    fn of_two_listeners_that_see_the_last_place_one_takes_it() {
        let pool = Limiter::builder().limit(1).queue(QueueConfig::none()).build().unwrap();
        let connections = Limiter::fixed(10_000);
        let (arrived, taken) = (AtomicU64::new(0), AtomicU64::new(0));
        let listener = || {
            let mut bounds = Bounds::new(connections.clone(), false);
            bounds.linked = Some(pool.clone());
            for round in 1..=20_000 {
                together(&arrived, 2 * round - 1);
                let permit = bounds.admit();
                taken.fetch_add(u64::from(permit.is_ok()), Relaxed);
                together(&arrived, 2 * round);
                assert_eq!(taken.load(Relaxed), round, "in each round exactly one");
            }
        };
        std::thread::scope(|scope| {
            for thread in [scope.spawn(listener), scope.spawn(listener)] {
                thread.join().unwrap();
            }
        });
    }
}
