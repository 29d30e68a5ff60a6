//! [`Limiter`]: ask, take, operate.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use tidegate_control::limit::{Explanation, LimitAlgorithm};
use tidegate_control::queue::{ClassQueue, Place};
use tidegate_control::sample::{Sample, View};
use tidegate_control::slots::ReturnSlots;
use tidegate_control::wait::DrainRate;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::admission::Admission;
use super::builder::{LimiterBuilder, QueueConfig};
use super::core::{Cell, Claim, Core, lock};
use super::free::{Free, MAX_UNITS, signed};
use super::occupants::{LimiterStats, Occupant};
use super::permit::Permit;
use super::ticket::Leave;
use crate::clock::{Clock, unix_now};
use crate::demand::Demand;
use crate::readiness::{AskReady, Readiness, WaitEstimate};
use crate::refused::{Reason, Refused};

/// Lets so much work in at once, holds a bounded number of callers for a bounded moment, and refuses the rest
/// with a reason and a time to come back. Cheap to clone; clones share everything.
///
/// **When full**, callers queue in order of class and arrival, up to the queue's bounds. Whoever is predicted
/// to wait too long is refused on arrival, not after the wait. Nobody passes the queue: a permit that comes
/// back goes to its head.
#[derive(Clone)]
pub struct Limiter {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) free: Free,
    pub(super) core: Mutex<Core>,
    pub(super) name: Arc<str>,
    pub(super) clock: Clock,
    pub(super) queue: QueueConfig,
    /// The algorithm sees samples: admissions are timed.
    pub(super) adaptive: bool,
    pub(super) track: bool,
    pub(super) admitted: AtomicU64,
    /// Σ weight · time of admissions and of releases (mod 2⁶⁴): their difference gives ∫ in_flight dt.
    pub(super) taken_at: AtomicU64,
    pub(super) given_at: AtomicU64,
    pub(super) emptied: Notify,
}

impl Limiter {
    /// A limiter of `limit` units (moved into 1..=2⁴⁰) with the default queue.
    #[must_use]
    pub fn fixed(limit: u64) -> Self {
        Self::builder().limit(limit).build_in_range()
    }

    /// A limiter whose limit `algorithm` finds, with the default queue.
    #[must_use]
    pub fn adaptive(algorithm: impl LimitAlgorithm) -> Self {
        Self::builder().algorithm(algorithm).build_in_range()
    }

    /// Starts building a limiter.
    pub fn builder() -> LimiterBuilder {
        LimiterBuilder::new()
    }

    pub(crate) fn from_builder(mut builder: LimiterBuilder) -> Self {
        let (algorithm, adaptive) = builder.algorithm_or_fixed();
        let core = Core {
            queue: ClassQueue::new(builder.queue.capacity),
            closed: false,
            draining: false,
            limit: builder.limit,
            algorithm,
            drain: DrainRate::default(),
            slots: ReturnSlots::default(),
            holders: std::collections::HashMap::new(),
            track: builder.track,
            next_id: 0,
            random: unix_now(),
            admitted_from_queue: 0,
            declined: 0,
            canceled: 0,
            refused: [0; Reason::ALL.len()],
        };
        let inner = Inner {
            free: Free::new(builder.limit),
            core: Mutex::new(core),
            name: Arc::from(&*builder.name),
            clock: Clock::start(),
            queue: builder.queue,
            adaptive,
            track: builder.track,
            admitted: AtomicU64::new(0),
            taken_at: AtomicU64::new(0),
            given_at: AtomicU64::new(0),
            emptied: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What would happen to a caller that came now. Reserves nothing, registers nothing; when there is room it
    /// is one read of memory.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match u64::try_from(self.inner.free.open_units()) {
            Ok(available) if available > 0 => Readiness::Ready { available },
            _ => self.readiness_when_busy(&Demand::ONE),
        }
    }

    fn readiness_when_busy(&self, demand: &Demand) -> Readiness {
        let core = lock(&self.inner.core);
        let available = u64::try_from(self.inner.free.units()).unwrap_or(0);
        if core.draining {
            return Readiness::Draining { retry_after: None };
        }
        if core.queue.is_empty() && core.fits(&self.inner.free, demand.weight) {
            return Readiness::Ready { available };
        }
        let ahead = core.queue.ahead_of(demand.class);
        let wait = core.estimate(ahead.saturating_add(demand.weight));
        if core.queue.len() >= core.queue.capacity() || wait.expected > self.longest_wait(demand) {
            return Readiness::Saturated { retry_after: (wait.samples > 0).then_some(wait.expected) };
        }
        Readiness::Busy { ahead, wait }
    }

    /// The figures of this moment.
    #[must_use]
    pub fn stats(&self) -> LimiterStats {
        let core = lock(&self.inner.core);
        let units = self.inner.free.units();
        LimiterStats {
            limit: core.limit,
            in_flight: core.in_flight(&self.inner.free),
            available: if core.closed { 0 } else { u64::try_from(units).unwrap_or(0) },
            overcommitted: u64::try_from(-units).unwrap_or(0),
            waiting: core.queue.len() as u64,
            queue_capacity: core.queue.capacity() as u64,
            admitted: self.inner.admitted.load(Ordering::Relaxed) + core.admitted_from_queue,
            declined: core.declined,
            canceled: core.canceled,
            refused: core.refused,
        }
    }

    /// Why the limit is where it is.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        lock(&self.inner.core).algorithm.explain()
    }

    /// Who holds capacity, longest first. Empty unless
    /// [`track_occupants`](LimiterBuilder::track_occupants) was asked for.
    #[must_use]
    pub fn holders(&self) -> Vec<Occupant> {
        lock(&self.inner.core).list_holders(self.now())
    }

    /// Who waits, in the order of class and arrival.
    #[must_use]
    pub fn waiters(&self) -> Vec<Occupant> {
        lock(&self.inner.core).list_waiters(self.now())
    }

    /// A permit, if there is room and nobody waits. Never waits.
    ///
    /// # Errors
    /// **When full:** [`Reason::QueueFull`]; while draining: [`Reason::Draining`].
    pub fn try_acquire(&self, demand: impl Into<Demand>) -> Result<Permit, Refused> {
        let demand = demand.into();
        if let Some(permit) = self.admit_at_once(&demand) {
            return Ok(permit);
        }
        match self.admit_or_queue(demand, false)? {
            Admission::Admitted(permit) => Ok(permit),
            Admission::Waiting(ticket) => {
                drop(ticket);
                Err(self.refusal(Reason::QueueFull))
            }
        }
    }

    /// A permit at once, or a place in the queue, or a refusal; the caller decides what to do with the wait.
    ///
    /// # Errors
    /// **When full:** [`Reason::QueueFull`] when there is no place, [`Reason::WaitTooLong`] or
    /// [`Reason::Deadline`] when the wait would take too long; while draining: [`Reason::Draining`].
    pub fn enqueue(&self, demand: impl Into<Demand>) -> Result<Admission, Refused> {
        let demand = demand.into();
        match self.admit_at_once(&demand) {
            Some(permit) => Ok(Admission::Admitted(permit)),
            None => self.admit_or_queue(demand, true),
        }
    }

    /// A permit, after a bounded wait if need be.
    ///
    /// **Cancel safety:** dropping the future leaves the queue at once; nothing is lost.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue); and [`Reason::Expired`] or [`Reason::Displaced`] from the queue.
    pub async fn acquire(&self, demand: impl Into<Demand>) -> Result<Permit, Refused> {
        match self.enqueue(demand)? {
            Admission::Admitted(permit) => Ok(permit),
            Admission::Waiting(ticket) => ticket.await,
        }
    }

    /// Sets the limit (moved into 1..=2⁴⁰). Down: at once for newcomers, and what is held above it is paid
    /// back before anybody waiting is served. Up: exactly as many waiters as fit are woken. An adaptive
    /// algorithm goes on from its own estimate.
    pub fn set_limit(&self, limit: u64) {
        self.change(|core, free| core.resize(free, limit.clamp(1, MAX_UNITS)));
    }

    /// Lets time pass for an adaptive algorithm: call it every 10 ms or so where phases should end although
    /// nothing completes.
    pub fn tick(&self) {
        if self.inner.adaptive {
            let now = self.now();
            self.change(|core, free| {
                let view = self.view(core, now, 0);
                let limit = core.algorithm.on_tick(&view).clamp(1, MAX_UNITS);
                core.resize(free, limit);
            });
        }
    }

    /// Refuses newcomers from now on, serves those that wait, and resolves when nothing is held any more.
    /// Dropping the future does not end the drain.
    pub async fn drain(&self) -> LimiterStats {
        self.change(|core, free| {
            core.draining = true;
            core.close(free);
        });
        loop {
            let emptied = self.inner.emptied.notified();
            let stats = self.stats();
            if stats.in_flight == 0 && stats.waiting == 0 {
                return stats;
            }
            emptied.await;
        }
    }

    pub(crate) fn release(&self, permit: &Permit) {
        let inner = &*self.inner;
        if !inner.adaptive && permit.holder.is_none() {
            if inner.free.give(permit.weight) {
                self.change(|_, _| ());
            }
            return;
        }
        let now = self.now();
        self.change(|core, free| {
            if let Some(holder) = permit.holder {
                core.holders.remove(&holder);
            }
            if inner.adaptive {
                let sample = Sample {
                    at: self.view(core, now, 0),
                    elapsed: now.saturating_sub(permit.since),
                    queued: permit.queued,
                    weight: permit.weight,
                    outcome: permit.on_drop,
                    in_time: permit.in_time,
                    kind: permit.kind,
                };
                inner.given_at.fetch_add(permit.weight.wrapping_mul(now), Ordering::Relaxed);
                let limit = core.algorithm.on_sample(&sample).clamp(1, MAX_UNITS);
                core.resize(free, limit);
            }
            // Whether it is closed is known: this thread holds the lock and hands over next.
            let _ = free.give(permit.weight);
        });
    }

    pub(crate) fn leave_queue(&self, place: Place, cell: &Cell, how: Leave) {
        self.change(|core, free| {
            if core.queue.remove(place).is_none() {
                if let Claim::Granted { holder, weight, .. } = cell.claim(None) {
                    if let Some(holder) = holder {
                        core.holders.remove(&holder);
                    }
                    let _ = free.give(weight);
                }
            }
            match how {
                Leave::Declined => core.declined += 1,
                Leave::Canceled => core.canceled += 1,
                Leave::Expired => {}
            }
        });
    }

    /// Changes something under the lock, then serves those that wait and wakes them outside it.
    fn change(&self, change: impl FnOnce(&mut Core, &Free)) {
        let mut wake = Vec::new();
        let mut core = lock(&self.inner.core);
        change(&mut core, &self.inner.free);
        core.hand_over(&self.inner.free, self.now(), &mut wake);
        let emptied = core.draining && core.queue.is_empty() && core.in_flight(&self.inner.free) == 0;
        drop(core);
        wake.into_iter().for_each(Waker::wake);
        if emptied {
            self.inner.emptied.notify_waiters();
        }
    }

    pub(super) fn view(&self, core: &Core, now: u64, newcomers: u64) -> View {
        let in_flight = core.in_flight(&self.inner.free);
        let taken = self.inner.taken_at.load(Ordering::Relaxed);
        let given = self.inner.given_at.load(Ordering::Relaxed);
        View {
            now,
            unix: unix_now(),
            in_flight,
            waiting: core.queue.len() as u64 + newcomers,
            limit: core.limit,
            area: now.wrapping_mul(in_flight).wrapping_add(given).wrapping_sub(taken),
        }
    }

    pub(crate) fn refusal(&self, reason: Reason) -> Refused {
        let now = self.now();
        lock(&self.inner.core).refuse(&self.inner.name, now, reason, Demand::ONE.class, None)
    }

    pub(crate) fn ahead(&self, place: Place) -> u64 {
        lock(&self.inner.core).queue.ahead(place).unwrap_or(0)
    }

    pub(crate) fn estimate(&self, units: u64) -> WaitEstimate {
        lock(&self.inner.core).estimate(units)
    }

    pub(crate) fn now(&self) -> u64 {
        self.inner.clock.now()
    }

    pub(crate) fn instant(&self, at: u64) -> Instant {
        self.inner.clock.instant(at)
    }
}

impl AskReady for Limiter {
    fn readiness(&self) -> Readiness {
        Self::readiness(self)
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        match u64::try_from(self.inner.free.open_units()) {
            Ok(available) if signed(available) >= signed(demand.weight) => Readiness::Ready { available },
            _ => self.readiness_when_busy(demand),
        }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.inner.name)
            .field("free", &self.inner.free.units())
            .finish_non_exhaustive()
    }
}
