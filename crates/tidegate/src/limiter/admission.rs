//! Admission: at once, after a wait, or not at all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use tidegate_control::queue::Entry;
use tidegate_control::sample::Outcome;

use super::core::{Cell, Core, Waiter, lock};
use super::free::MAX_UNITS;
use super::limiter::Limiter;
use super::permit::Permit;
use super::ticket::{Ticket, TicketId};
use crate::clock::nanos;
use crate::demand::Demand;
use crate::refused::{Reason, Refused};

/// Share of a client's patience that may go into waiting: the rest is for the work itself.
const PATIENCE_SHARE: f64 = 0.4;

/// A caller is in, or waits.
#[derive(Debug)]
#[must_use = "an admission holds capacity, or a place in the queue"]
pub enum Admission {
    /// Admitted at once.
    Admitted(Permit),
    /// Waiting; the ticket resolves to the permit.
    Waiting(Ticket),
}

impl Limiter {
    pub(super) fn admit_at_once(&self, demand: &Demand) -> Option<Permit> {
        if self.inner.track || !self.inner.free.try_take(demand.weight) {
            return None;
        }
        self.inner.admitted.fetch_add(1, Ordering::Relaxed);
        let since = if self.inner.adaptive { self.now() } else { 0 };
        Some(self.permit(demand.weight, demand.kind, since, 0, None))
    }

    pub(super) fn admit_or_queue(&self, demand: Demand, may_wait: bool) -> Result<Admission, Refused> {
        let now = self.now();
        let mut wake = Vec::new();
        let mut core = lock(&self.inner.core);
        let result = self.decide(&mut core, demand, now, may_wait, &mut wake);
        core.hand_over(&self.inner.free, now, &mut wake);
        drop(core);
        wake.into_iter().for_each(Waker::wake);
        result
    }

    fn decide(
        &self,
        core: &mut Core,
        demand: Demand,
        now: u64,
        may_wait: bool,
        wake: &mut Vec<Waker>,
    ) -> Result<Admission, Refused> {
        let (free, name) = (&self.inner.free, &self.inner.name);
        let Demand { weight, class, kind, .. } = demand;
        if core.draining {
            return Err(core.refuse(name, now, Reason::Draining, class, None));
        }
        // From here on only this thread takes units, so that the answer cannot change under it.
        core.close(free);
        if core.queue.is_empty() && core.fits(free, weight) {
            free.take(weight);
            self.inner.admitted.fetch_add(1, Ordering::Relaxed);
            let holder = core.remember(now, demand.holder, weight, class);
            return Ok(Admission::Admitted(self.permit(weight, kind, now, 0, holder)));
        }
        if self.inner.adaptive {
            let view = self.view(core, now, 1);
            let limit = core.algorithm.on_pressure(&view).clamp(1, MAX_UNITS);
            core.resize(free, limit);
        }
        if !may_wait {
            return Err(core.refuse(name, now, Reason::QueueFull, class, None));
        }
        let wait = core.estimate(core.queue.ahead_of(class).saturating_add(weight));
        let deadline = demand.deadline.map_or(u64::MAX, |at| self.inner.clock.at(at));
        if now.saturating_add(nanos(wait.expected)) >= deadline {
            return Err(core.refuse(name, now, Reason::Deadline, class, Some(wait)));
        }
        let longest = self.longest_wait(&demand);
        if wait.expected > longest {
            return Err(core.refuse(name, now, Reason::WaitTooLong, class, Some(wait)));
        }
        let cell = Arc::new(Cell::new());
        let waiter = Waiter { cell: Arc::clone(&cell), kind, who: demand.holder };
        let Ok(pushed) = core.queue.push(Entry { value: waiter, class, weight, since: now }) else {
            return Err(core.refuse(name, now, Reason::QueueFull, class, Some(wait)));
        };
        if let Some(entry) = pushed.displaced {
            wake.extend(core.displace(name, now, &entry));
        }
        core.drain.bound(now);
        core.next_id += 1;
        Ok(Admission::Waiting(Ticket {
            limiter: self.clone(),
            cell,
            place: pushed.place,
            id: TicketId(core.next_id),
            since: now,
            until: now.saturating_add(nanos(longest)).min(deadline),
            expiry: None,
            done: false,
        }))
    }

    pub(super) fn longest_wait(&self, demand: &Demand) -> Duration {
        let own = demand.max_wait.unwrap_or(Duration::MAX);
        let patience = demand.patience.map_or(Duration::MAX, |patience| patience.mul_f64(PATIENCE_SHARE));
        self.inner.queue.max_wait.min(own).min(patience)
    }

    fn permit(&self, weight: u64, kind: u8, since: u64, queued: u64, holder: Option<u64>) -> Permit {
        if self.inner.adaptive {
            self.inner.taken_at.fetch_add(weight.wrapping_mul(since), Ordering::Relaxed);
        }
        let on_drop = Outcome::Canceled;
        Permit { limiter: self.clone(), weight, since, queued, kind, on_drop, in_time: true, holder }
    }

    pub(super) fn granted(&self, weight: u64, kind: u8, since: u64, at: u64, holder: Option<u64>) -> Permit {
        self.permit(weight, kind, at, at.saturating_sub(since), holder)
    }
}
