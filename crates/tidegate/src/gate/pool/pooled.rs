//! A connection and the permit it is held under.

use std::fmt;
use std::future::{Future, pending};
use std::ops::{Deref, DerefMut};

use tidegate_control::sample::Outcome;
use tokio::sync::watch;

use crate::limiter::Permit;

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
    /// Whoever lent it out holds the other end; `None` if the caller has it in hand.
    caller: Option<watch::Sender<()>>,
}

impl<C> Pooled<C> {
    pub(super) fn new(connection: C, permit: Permit) -> Self {
        Self { connection, permit, caller: None }
    }

    /// Gives the connection back and reports how the work ended. Dropped unreported, it counts as
    /// [`Outcome::Canceled`]; only successes teach the gate what work takes, which it needs to refuse those whose
    /// deadline the work would miss.
    pub fn finish(this: Self, outcome: Outcome) {
        let Self { connection, permit, .. } = this;
        drop(connection);
        permit.finish(outcome);
    }

    /// What it is held under: how long it has been held, how long the wait was.
    pub const fn permit(this: &Self) -> &Permit {
        &this.permit
    }

    /// Completes when the caller of [`PoolGate::run`](super::PoolGate::run) has gone, so that nobody waits for the work any
    /// more: the moment to have the database stop a statement that it would otherwise finish for nobody. Never completes
    /// for a connection that [`get`](super::PoolGate::get) gave, whose caller has it in hand, nor once the two are
    /// [apart](Self::into_parts).
    ///
    /// Whoever stops a statement keeps the connection until the database has confirmed its end: before that it is busy.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use tidegate::Demand;
    /// use tidegate::gate::{PoolGate, Pooled};
    ///
    /// let gate = PoolGate::builder(|| 1, || async { Ok::<_, std::io::Error>("a connection") }).build()?;
    /// let (told, stopped) = tokio::sync::oneshot::channel();
    /// let work = gate.run(Demand::ONE, |db| async move {
    ///     // In the place of `tokio::select!` between the statement and this.
    ///     Pooled::caller_gone(&db).await;
    ///     let _ = told.send(gate_is_held(&db));
    /// });
    /// # fn gate_is_held(_: &Pooled<&str>) -> bool { true }
    /// let left = tokio::time::timeout(std::time::Duration::from_millis(1), work).await;
    /// assert!(left.is_err(), "the caller gives up");
    /// assert_eq!(stopped.await, Ok(true), "and the work hears of it, with the connection still in its hands");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// **When cancelled:** nothing is lost; asked again, it answers again.
    pub fn caller_gone(this: &Self) -> impl Future<Output = ()> + Send + use<C> {
        // Borrows nothing: most connections are used by `&mut`, beside it.
        let caller = this.caller.clone();
        async move {
            match caller {
                Some(caller) => caller.closed().await,
                None => pending().await,
            }
        }
    }

    /// The two apart, for a connection that goes its own way. The permit must outlive the connection, or somebody is
    /// admitted to a connection that is not there.
    pub fn into_parts(this: Self) -> (C, Permit) {
        (this.connection, this.permit)
    }

    /// Lent to work that goes on when its caller goes, and then hears of it: who calls keeps the receiver.
    pub(super) fn lent(self, outcome: Outcome) -> (Self, watch::Receiver<()>) {
        let (caller, here) = watch::channel(());
        let permit = self.permit.on_drop(outcome);
        (Self { connection: self.connection, permit, caller: Some(caller) }, here)
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
