//! [`Limiter`]: ask, take, operate.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tidegate_control::limit::{Explanation, LimitAlgorithm};
use tidegate_control::sample::Outcome;

use crate::demand::Demand;
use crate::readiness::{AskReady, Readiness, WaitEstimate};
use crate::refused::Refused;
use crate::sync::lock;

use super::acquire::{Acquire, RunError};
use super::builder::LimiterBuilder;
use super::door::Passage;
use super::permit::Permit;
use super::service::ServiceTime;
use super::shared::{Ending, Shared};
use super::state::MAX_LIMIT;
use super::stats::LimiterStats;
use super::ticket::{Admission, Ticket};
use super::watch::{Drained, ReadinessWatch};
use tidegate_control::wait::Coverage;

/// Lets so much work in at once, holds a bounded number of callers for a bounded moment, and refuses the rest
/// with a reason and a time to come back. Cheap to clone; clones share everything.
///
/// **When full**, callers queue by class and arrival, up to the queue's bounds. Whoever is predicted to wait too
/// long is refused on arrival, not after the wait. Nobody passes the queue: a permit that comes back is handed to
/// its head. **When cancelled**, a caller leaves the queue at once, and capacity that was on its way to it goes to the
/// next; dropped work gives its [`Permit`] back.
///
/// With a fixed limit, admission when nobody waits is one compare-and-swap and reads no clock; with an
/// algorithm, or when holders are tracked, it takes a lock for a moment. Where a fixed limit's line moves so fast that
/// nobody is expected to wait two milliseconds, waits and service times are measured on one in about 250; where callers of such a line
/// run on a runtime of several threads, the first of them starts one thread (`tidegate-alarm`) for the whole program, which ends
/// overdue waits in place of timers and sleeps while nobody waits for it. Waiting is the only thing for which a
/// runtime is of use (the timer of a [`Ticket`]); everything else works without one.
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

/// Making one.
impl Limiter {
    /// A limiter of `limit` units (moved into 1..2⁶⁰) with the default queue.
    #[must_use]
    pub fn fixed(limit: u64) -> Self {
        Self::from_shared(Shared::new(Self::builder().limit(limit.clamp(1, MAX_LIMIT))))
    }

    /// A limiter whose limit `algorithm` finds, with the default queue. Call [`tick`](Self::tick) every 10 ms or
    /// so, that a phase of the algorithm can end although nothing completes.
    #[must_use]
    pub fn adaptive(algorithm: impl LimitAlgorithm) -> Self {
        Self::from_shared(Shared::new(Self::builder().algorithm(algorithm)))
    }

    /// Starts building a limiter.
    pub fn builder() -> LimiterBuilder {
        LimiterBuilder::new()
    }

    pub(super) fn from_shared(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    #[inline]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// Asking. Nothing here waits, reserves, or registers anything.
impl Limiter {
    /// What would happen to one unit of the default class now. With room, one read of one word.
    #[inline]
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.shared.readiness_for(&Demand::ONE)
    }

    /// What would happen to `demand` now.
    #[must_use]
    pub fn readiness_for(&self, demand: &Demand) -> Readiness {
        self.shared.readiness_for(demand)
    }

    /// The figures of this moment, and the counts since the limiter was made.
    #[must_use]
    pub fn stats(&self) -> LimiterStats {
        self.shared.stats()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Why the limit is where it is.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let desk = lock(&self.shared.desk);
        match &desk.algorithm {
            Some(algorithm) => algorithm.explain(),
            None => {
                let mut fixed = Explanation::default();
                fixed.algorithm = "fixed";
                fixed.phase = "fixed";
                fixed.limit = self.shared.limit();
                fixed.estimate = fixed.limit as f64;
                fixed
            }
        }
    }

    /// Units a second that are admitted while the limit binds; `None` before it has.
    #[must_use]
    pub fn drain_rate(&self) -> Option<f64> {
        lock(&self.shared.desk).outlook.drain_rate()
    }

    /// The wait that one more unit of the default class would have; zero when there is room.
    #[must_use]
    pub fn predicted_wait(&self) -> WaitEstimate {
        match self.readiness() {
            Readiness::Ready { .. } => WaitEstimate::default(),
            Readiness::Busy { wait, .. } => wait,
            Readiness::Saturated { .. } | Readiness::Draining { .. } => {
                let desk = lock(&self.shared.desk);
                desk.outlook.predict(desk.queue.ahead_of(Demand::ONE.class).saturating_add(1))
            }
        }
    }

    /// How well predicted waits held.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        lock(&self.shared.desk).outlook.coverage()
    }

    /// What work of `kind` takes, as far as it was measured (see [`Permit::held`]).
    #[must_use]
    pub fn service_time(&self, kind: u8) -> ServiceTime {
        lock(&self.shared.desk).outlook.service_time(kind)
    }

    /// Tells when readiness changes. While somebody watches, every admission takes the lock.
    #[must_use]
    pub fn subscribe(&self) -> ReadinessWatch {
        ReadinessWatch::new(self.clone())
    }

    /// Whether a holder has one permit at most.
    #[cfg(feature = "gate")]
    pub(crate) fn has_one_permit_per_holder(&self) -> bool {
        self.shared.one_each
    }

    pub(super) fn estimate(&self, units: u64) -> WaitEstimate {
        lock(&self.shared.desk).outlook.predict(units)
    }
}

/// Taking.
impl Limiter {
    /// A permit, if there is room and nobody waits. Never waits.
    ///
    /// # Errors
    /// **When full:** [`QueueFull`](crate::Reason::QueueFull); while draining:
    /// [`Draining`](crate::Reason::Draining); [`AlreadyHeld`](crate::Reason::AlreadyHeld) where a holder has
    /// [one permit](LimiterBuilder::one_permit_per_holder) at most.
    #[inline]
    pub fn try_acquire(&self, demand: impl Into<Demand>) -> Result<Permit, Refused> {
        let demand = demand.into();
        match self.admit_at_once(&demand) {
            Some(permit) => Ok(permit),
            None => self.try_at_desk(&demand),
        }
    }

    /// A permit at once, or a place in the queue, or a refusal; the caller decides what to do with the wait.
    /// **When cancelled:** a dropped [`Ticket`] leaves the queue at once.
    ///
    /// # Errors
    /// **When full:** [`QueueFull`](crate::Reason::QueueFull) when there is no place,
    /// [`WaitTooLong`](crate::Reason::WaitTooLong) or [`Deadline`](crate::Reason::Deadline) when the wait would
    /// take too long; while draining: [`Draining`](crate::Reason::Draining); [`AlreadyHeld`](crate::Reason::AlreadyHeld) as
    /// [`try_acquire`](Self::try_acquire).
    #[inline]
    pub fn enqueue(&self, demand: impl Into<Demand>) -> Result<Admission, Refused> {
        let demand = demand.into();
        if let Some(permit) = self.admit_at_once(&demand) {
            return Ok(Admission::Admitted(permit));
        }
        self.clone().ask_at_desk(&demand)
    }

    /// A permit, after a bounded wait if need be.
    ///
    /// **When full:** it waits, or resolves to the errors of [`enqueue`](Self::enqueue) and of [`Ticket`]. **When
    /// cancelled:** dropping the future leaves the queue at once.
    pub fn acquire(&self, demand: impl Into<Demand>) -> Acquire {
        Acquire::new(self.clone(), demand.into())
    }

    /// Runs `work` under a permit. Its `Ok` is reported as success, its `Err` as an end that says nothing about
    /// load. **When full:** it waits as [`acquire`](Self::acquire) does. **When cancelled:** it leaves the queue, or
    /// drops the work and gives its permit back; safe as far as `work` is.
    ///
    /// # Errors
    /// The refusal, or the work's own error.
    pub async fn run<F, T, E>(&self, demand: impl Into<Demand>, work: F) -> Result<T, RunError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let permit = self.acquire(demand).await.map_err(RunError::Refused)?;
        let result = work.await;
        permit.finish(if result.is_ok() { Outcome::Success } else { Outcome::Ignore });
        result.map_err(RunError::Inner)
    }

    #[inline]
    fn admit_at_once(&self, demand: &Demand) -> Option<Permit> {
        self.shared
            .admit_at_once(demand.weight)
            .then(|| Permit::new(self.clone(), Ending::unmeasured(demand)))
    }

    #[cold]
    #[inline(never)]
    fn try_at_desk(&self, demand: &Demand) -> Result<Permit, Refused> {
        let grant = self.shared.ask_at_once(demand)?;
        Ok(Permit::new(self.clone(), Ending::of(demand, grant)))
    }

    /// Admitted, in the queue, or refused, for a caller that could not be admitted without the desk.
    #[cold]
    #[inline(never)]
    fn ask_at_desk(self, demand: &Demand) -> Result<Admission, Refused> {
        Ok(match self.shared.ask(demand)? {
            Passage::Admitted(grant) => Admission::Admitted(Permit::new(self, Ending::of(demand, grant))),
            Passage::Waiting(joined, terms) => Admission::Waiting(Ticket::new(self, joined, terms, demand)),
        })
    }

    /// The same, without the desk if it can be.
    #[inline]
    pub(super) fn ask(self, demand: &Demand) -> Result<Admission, Refused> {
        if self.shared.admit_at_once(demand.weight) {
            return Ok(Admission::Admitted(Permit::new(self, Ending::unmeasured(demand))));
        }
        self.ask_at_desk(demand)
    }

    #[inline]
    pub(super) fn shared_handle(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// Operating.
impl Limiter {
    /// Sets the limit (at most 2⁶⁰ − 1; 0 admits nobody). **Down:** at once for newcomers, and what is held
    /// beyond it comes back before anybody waiting is served. **Up:** exactly as many waiters as fit are woken.
    /// An algorithm goes on from its own estimate at its next event.
    pub fn set_limit(&self, limit: u64) {
        self.shared.visit(|_, _| self.shared.resize(limit));
    }

    /// Lets time pass: the algorithm hears of it, overdue tickets expire, unclaimed grants pass on. Call it
    /// every 10 ms or so for an adaptive limiter. Events do the same as they come, when 10 ms have gone by.
    pub fn tick(&self) {
        self.shared.visit(|desk, wakes| desk.tick(&self.shared, wakes, true));
    }

    /// Refuses all that wait now, as [`Draining`](crate::Reason::Draining): for the moment in which no time is left for
    /// their work, but for an answer. Newcomers may wait; what is held stays held.
    ///
    /// ```
    /// use tidegate::{Admission, Limiter, Reason, TryClaimError};
    ///
    /// let limiter = Limiter::fixed(1);
    /// let _held = limiter.try_acquire(1);
    /// let Ok(Admission::Waiting(ticket)) = limiter.enqueue(1) else { unreachable!("the unit is held") };
    /// limiter.refuse_waiting();
    /// let Err(TryClaimError::Refused(refused)) = ticket.try_claim() else { unreachable!("it was refused") };
    /// assert_eq!(refused.reason(), Reason::Draining);
    /// ```
    pub fn refuse_waiting(&self) {
        self.shared.refuse_waiting(crate::refused::Reason::Draining);
    }

    /// Refuses newcomers from now on and goes on serving those that wait; resolves when nothing is held and
    /// nobody waits any more. There is no way back. **When full:** those who have a place in the queue are served
    /// first. **When cancelled:** dropping what it returns does not end the drain.
    pub fn drain(&self) -> Drained {
        self.shared.visit(|desk, _| {
            desk.draining = true;
            self.shared.gate.set_waiting(true);
        });
        Drained::new(self.clone())
    }
}

/// For gates, which let work in that others ask the limiter about later.
#[cfg(all(unix, feature = "gate"))]
impl Limiter {
    /// Refuses one unit for a `reason` that lies outside the limiter, with a return slot at the limiter's pace.
    pub(crate) fn refuse(&self, reason: crate::refused::Reason) -> Refused {
        self.shared.visit(|desk, _| desk.refusal(&self.shared, reason, Demand::ONE.class, None))
    }

    /// The most units, held and waiting, of which the last is still served within the longest wait. Never less
    /// than another limit's worth waits, where the queue has places: a pace is measured only while somebody waits.
    pub(crate) fn room_in_time(&self) -> u64 {
        let shared = &self.shared;
        let (limit, places) = (shared.limit(), shared.queue_capacity as u64);
        let in_time = self.drain_rate().map_or(u64::MAX, |rate| (rate * shared.max_wait as f64 / 1e9) as u64);
        limit.saturating_add(in_time.max(limit).min(places))
    }
}

impl AskReady for Limiter {
    fn readiness(&self) -> Readiness {
        Self::readiness(self)
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        Self::readiness_for(self, demand)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.shared.name)
            .field("limit", &self.shared.limit())
            .field("in_flight", &self.shared.in_flight())
            .finish_non_exhaustive()
    }
}
