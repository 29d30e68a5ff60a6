//! [`PoolGate`]: who gets a connection, and who is told to come back.

use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_control::sample::Outcome;
use tokio::time::{Instant, timeout_at};

use crate::demand::Demand;
use crate::limiter::{Limiter, Permit};
use crate::readiness::{AskReady, Readiness};
use crate::refused::{Reason, Refused};

use super::builder::PoolGateBuilder;
use super::error::PoolError;
use super::pooled::Pooled;

/// The pool's size, asked for whenever somebody comes.
pub(super) type Size = Box<dyn Fn() -> u64 + Send + Sync>;
/// A connection on its way.
type Getting<C, E> = Pin<Box<dyn Future<Output = Result<C, E>> + Send>>;
/// Asks the pool for a connection.
pub(super) type Get<C, E> = Box<dyn Fn() -> Getting<C, E> + Send + Sync>;

/// A gate before any pool: how many are left, who holds the others since when, how long would I wait, no.
///
/// Pools let everybody wait who comes: none can say for how long, most have no bound for how many, and the caller
/// learns by a timeout. The gate admits as many as the pool has connections, so nobody waits inside the pool; whoever
/// waits does it here, in the bounded queue of a [`Limiter`], which can be [asked](Self::limiter). Any pool will do; it
/// is named by two closures:
///
/// | Pool | its size | a connection |
/// |---|---|---|
/// | deadpool 0.13 | `pool.status().max_size as u64` | `pool.get().await` |
/// | bb8 0.9 | `pool.config().max_size.into()` | `pool.get_owned().await` |
/// | sqlx 0.8 | `pool.options().get_max_connections().into()` | `pool.acquire().await` |
///
/// The size is asked for at every arrival, so a pool that is resized takes its gate with it. A size that is not the
/// pool's own, or somebody who takes connections past the gate, shows as refusals with
/// [`OriginTimeout`](Reason::OriginTimeout): then the pool had none although it should have had one.
///
/// ```
/// use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
/// use tidegate::gate::PoolGate;
/// use tidegate::{Demand, Readiness};
///
/// struct Connections; // in the place of deadpool_postgres::Manager
/// impl Manager for Connections {
///     type Type = String;
///     type Error = std::io::Error;
///     async fn create(&self) -> Result<String, std::io::Error> { Ok("a connection".to_owned()) }
///     async fn recycle(&self, _: &mut String, _: &Metrics) -> RecycleResult<std::io::Error> { Ok(()) }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pool = Pool::<Connections>::builder(Connections).max_size(2).build()?;
/// let size = pool.clone();
/// let gate = PoolGate::builder(
///     move || size.status().max_size as u64,
///     move || { let pool = pool.clone(); async move { pool.get().await } },
/// )
/// .name("db")
/// .build()?;
///
/// let connection = gate.get(Demand::ONE.holder("GET /orders")).await?;
/// assert_eq!(**connection, "a connection");
/// assert_eq!(gate.limiter().readiness(), Readiness::Ready { available: 1 });
/// let holders = gate.limiter().holders();
/// println!("{} has held one for {:?}", holders[0].who, holders[0].age);
/// println!("one more would wait for {:?}", gate.limiter().predicted_wait().expected);
/// drop(connection); // back to the pool, then to whoever is next
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// An sqlx connection goes back in a task of its own, with a question to the database: whoever is next waits inside that
/// pool for one round trip. The others have it back when it is dropped.
///
/// **When full:** callers wait as the [queue](PoolGateBuilder::queue) has it; whoever would wait longer than it may, or
/// than its deadline leaves, is refused on arrival. **When cancelled:** a caller that waits leaves the queue at once; it
/// has never seen a connection. Cheap to clone; clones share everything.
pub struct PoolGate<C, E> {
    inner: Arc<Inner<C, E>>,
}

struct Inner<C, E> {
    limiter: Limiter,
    size: Size,
    /// The pool's size when it was last asked.
    seen: AtomicU64,
    resizing: Mutex<()>,
    get: Get<C, E>,
    gives_within: Duration,
}

impl<C, E> PoolGate<C, E> {
    /// A gate before the pool that says its `size` and from which `get` takes a connection. Both are called at every
    /// arrival that needs them, and must not block.
    pub fn builder<F>(
        size: impl Fn() -> u64 + Send + Sync + 'static,
        get: impl Fn() -> F + Send + Sync + 'static,
    ) -> PoolGateBuilder<C, E>
    where
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        PoolGateBuilder::new(Box::new(size), Box::new(move || Box::pin(get())))
    }

    pub(super) fn new(
        limiter: Limiter,
        size: Size,
        seen: u64,
        get: Get<C, E>,
        gives_within: Duration,
    ) -> Self {
        let seen = AtomicU64::new(seen);
        Self { inner: Arc::new(Inner { limiter, size, seen, resizing: Mutex::new(()), get, gives_within }) }
    }

    /// The limiter that keeps the pool's count: its readiness, holders, waiters, figures, and how to drain it.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.inner.limiter
    }

    /// A connection, after a bounded wait if need be. One connection is one unit: give a demand a weight above 1 only to
    /// keep others out.
    ///
    /// **Cancel safety:** dropping the future leaves the queue at once; while the pool opens a connection, it gives that
    /// up as the pool does, and then the permit back.
    ///
    /// # Errors
    /// [`PoolError::Refused`] as [`Limiter::acquire`] refuses; with [`OriginTimeout`](Reason::OriginTimeout) if the pool
    /// does not give in time, with [`Expired`](Reason::Expired) if the deadline passes before there is a connection, with
    /// [`Draining`](Reason::Draining) if the pool has been closed (its size is 0). [`PoolError::Pool`] for the pool's own
    /// error.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its timer enabled.
    pub async fn get(&self, demand: impl Into<Demand>) -> Result<Pooled<C>, PoolError<E>> {
        let demand = demand.into();
        let deadline = demand.deadline;
        self.follow()?;
        let permit = self.inner.limiter.acquire(demand).await?;
        self.take(permit, deadline).await
    }

    /// A connection, if one is free now and nobody waits for it. Waits for nothing but the pool's opening one, as
    /// [`get`](Self::get) does.
    ///
    /// # Errors
    /// Those of [`get`](Self::get); when full [`QueueFull`](Reason::QueueFull).
    ///
    /// # Panics
    /// Those of [`get`](Self::get).
    pub async fn try_get(&self, demand: impl Into<Demand>) -> Result<Pooled<C>, PoolError<E>> {
        let demand = demand.into();
        let deadline = demand.deadline;
        self.follow()?;
        let permit = self.inner.limiter.try_acquire(demand)?;
        self.take(permit, deadline).await
    }

    /// Gets a connection and lends it to `work`, which, once begun, goes on to its end in a task of its own even if the
    /// caller goes.
    ///
    /// For pools of database connections that is the safe way: whoever drops a query half-way stops waiting for it, but
    /// the database works on, and the connection would go back while it is busy, to hold up the next caller inside its
    /// own query, where nobody counts it. Here the permit stays with the work, which hears when its
    /// [caller has gone](Pooled::caller_gone) and can have the database stop. Give the database a longest time for a
    /// statement. There are never more such tasks than connections.
    ///
    /// The connection counts as used with success when `work` drops it; to report otherwise, let it
    /// [`finish`](Pooled::finish).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use tidegate::Demand;
    /// use tidegate::gate::PoolGate;
    ///
    /// let gate = PoolGate::builder(|| 1, || async { Ok::<_, std::io::Error>(vec![3, 4]) }).build()?;
    /// let sum = gate.run(Demand::ONE, |numbers| async move { numbers.iter().sum::<i32>() }).await?;
    /// assert_eq!(sum, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// **Cancel safety:** before `work` has begun, that of [`get`](Self::get): it never begins. Afterwards it is told,
    /// ends on its own, and its result is dropped.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    ///
    /// # Panics
    /// Those of [`get`](Self::get), and with what `work` panics with.
    pub async fn run<W, F>(&self, demand: impl Into<Demand>, work: W) -> Result<F::Output, PoolError<E>>
    where
        W: FnOnce(Pooled<C>) -> F,
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (connection, _here) = self.get(demand).await?.lent(Outcome::Success);
        match tokio::spawn(work(connection)).await {
            Ok(result) => Ok(result),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime is shutting down; who waits from outside of it must hear that.
            Err(_) => Err(PoolError::Refused(self.refusal(Reason::Draining))),
        }
    }

    async fn take(&self, permit: Permit, deadline: Option<Instant>) -> Result<Pooled<C>, PoolError<E>> {
        let now = Instant::now();
        if deadline.is_some_and(|at| at <= now) {
            // Nobody waits for it any more; to the limiter's mind nothing was held.
            permit.ignore();
            return Err(PoolError::Refused(self.refusal(Reason::Expired)));
        }
        let given_up = now.checked_add(self.inner.gives_within);
        let hurried = deadline.filter(|&at| given_up.is_none_or(|given_up| at < given_up));
        let getting = (self.inner.get)();
        let got = match hurried.or(given_up) {
            Some(at) => timeout_at(at, getting).await,
            // Centuries away: as long as it takes.
            None => Ok(getting.await),
        };
        match got {
            Ok(Ok(connection)) => Ok(Pooled::new(connection, permit)),
            Ok(Err(error)) => {
                permit.overload();
                Err(PoolError::Pool(error))
            }
            Err(_) => {
                permit.overload();
                let reason = if hurried.is_some() { Reason::Expired } else { Reason::OriginTimeout };
                Err(PoolError::Refused(self.refusal(reason)))
            }
        }
    }

    /// Lets the limit follow the pool's size, when it has changed: a limit that was set by hand stays until then. Of two
    /// that see different sizes at once, the lock lets the later one have the last word in both places.
    fn follow(&self) -> Result<(), Refused> {
        let mut size = (self.inner.size)();
        if self.inner.seen.load(Ordering::Acquire) != size {
            let _turn = self.inner.resizing.lock().unwrap_or_else(PoisonError::into_inner);
            size = (self.inner.size)();
            if self.inner.seen.load(Ordering::Acquire) != size {
                self.inner.limiter.set_limit(size);
                self.inner.seen.store(size, Ordering::Release);
            }
        }
        if size == 0 { Err(self.refusal(Reason::Draining)) } else { Ok(()) }
    }

    fn refusal(&self, reason: Reason) -> Refused {
        Refused::new(reason, self.inner.limiter.name().into())
    }
}

impl<C, E> AskReady for PoolGate<C, E> {
    fn readiness(&self) -> Readiness {
        self.readiness_for(&Demand::ONE)
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        match self.follow() {
            Ok(()) => self.inner.limiter.readiness_for(demand),
            Err(_) => Readiness::Draining { retry_after: None },
        }
    }
}

impl<C, E> Clone for PoolGate<C, E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C, E> fmt::Debug for PoolGate<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolGate").field("limiter", &self.inner.limiter).finish_non_exhaustive()
    }
}
