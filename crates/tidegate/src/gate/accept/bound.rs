//! How many connections there may be, and what says so.

use tidegate_control::sample::Outcome;

use crate::demand::Demand;
use crate::limiter::{Limiter, Permit};
use crate::readiness::Readiness;
use crate::sync::{Mutex, lock};

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
    /// Two that see the last place must not both take it.
    turn: Mutex<()>,
}

impl Bounds {
    pub(super) fn new(connections: Limiter, descriptors: bool) -> Self {
        Self { connections, linked: None, descriptors, turn: Mutex::new(()) }
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
        let _turn = lock(&self.turn);
        if let Some(full) = self.full() {
            return Err(full);
        }
        let permit = self.connections.try_acquire(Demand::ONE).map_err(|_| Full::Connections)?;
        let permit = permit.on_drop(Outcome::Ignore);
        // Another listener with the same limiter does not wait for this turn.
        if self.connections.stats().in_flight > self.bound().connections {
            return Err(Full::Connections);
        }
        Ok(permit)
    }
}
