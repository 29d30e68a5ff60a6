//! A connection and the permit it is held under.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::limiter::Permit;
use tidegate_control::sample::Outcome;

/// A pool's connection, as [`PoolGate`](super::PoolGate) lends it.
///
/// Dropped, the connection goes back to the pool first and then the permit to whoever is next, who therefore finds it
/// there. Its functions are called as `Pooled::finish(connection, …)`, so that they hide none of the connection's own.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::gate::{PoolGate, Pooled};
/// use tidegate::{Demand, Outcome};
///
/// let gate = PoolGate::builder(|| 1, || async { Ok::<_, std::io::Error>(vec![1, 2, 3]) }).build()?;
/// let mut connection = gate.get(Demand::ONE).await?;
/// connection.push(4);
/// assert_eq!(connection.len(), 4);
/// Pooled::finish(connection, Outcome::Success);
/// assert_eq!(gate.limiter().stats().available, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use = "dropping it gives the connection back at once"]
pub struct Pooled<C> {
    // In this order: fields are dropped from the first to the last.
    connection: C,
    permit: Permit,
}

impl<C> Pooled<C> {
    pub(super) fn new(connection: C, permit: Permit) -> Self {
        Self { connection, permit }
    }

    /// Gives the connection back and reports how the work ended. Dropped unreported, it counts as
    /// [`Outcome::Canceled`]; only successes teach the gate what work takes, which it needs to refuse those whose
    /// deadline the work would miss.
    pub fn finish(this: Self, outcome: Outcome) {
        let Self { connection, permit } = this;
        drop(connection);
        permit.finish(outcome);
    }

    /// What it is held under: how long it has been held, how long the wait was.
    pub const fn permit(this: &Self) -> &Permit {
        &this.permit
    }

    /// The two apart, for a connection that goes its own way. The permit must outlive the connection, or somebody is
    /// admitted to a connection that is not there.
    pub fn into_parts(this: Self) -> (C, Permit) {
        (this.connection, this.permit)
    }

    pub(super) fn on_drop(self, outcome: Outcome) -> Self {
        Self { connection: self.connection, permit: self.permit.on_drop(outcome) }
    }
}

impl<C> Deref for Pooled<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C> DerefMut for Pooled<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl<C: fmt::Debug> fmt::Debug for Pooled<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("connection", &self.connection).finish_non_exhaustive()
    }
}
