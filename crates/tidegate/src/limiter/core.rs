//! What the limiter's lock protects: the queue, the algorithm, the pace, the holders.
//!
//! Every method here runs under the lock and wakes nobody: wakers are handed out and called afterwards.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use tidegate_control::limit::LimitAlgorithm;
use tidegate_control::queue::{ClassQueue, Criticality, Entry};
use tidegate_control::slots::ReturnSlots;
use tidegate_control::wait::DrainRate;

use super::free::{Free, signed};
use super::occupants::Occupant;
use crate::readiness::WaitEstimate;
use crate::refused::{Reason, Refused};

/// Locks, also after a panic elsewhere: every critical section leaves its data usable at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a ticket and its queue entry meet.
#[derive(Debug)]
pub(crate) struct Cell(Mutex<Turn>);

#[derive(Debug)]
enum Turn {
    Waiting(Option<Waker>),
    Decided(Claim),
    Taken,
}

/// What a ticket finds.
#[derive(Debug)]
pub(crate) enum Claim {
    Waiting,
    Granted { at: u64, holder: Option<u64>, weight: u64, kind: u8 },
    Refused(Refused),
}

impl Cell {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Turn::Waiting(None)))
    }

    /// Takes the decision if there is one; else remembers whom to wake.
    pub(crate) fn claim(&self, cx: Option<&mut Context<'_>>) -> Claim {
        let mut turn = lock(&self.0);
        match &mut *turn {
            Turn::Waiting(waker) => {
                match (waker, cx) {
                    (Some(waker), Some(cx)) => waker.clone_from(cx.waker()),
                    (waker @ None, Some(cx)) => *waker = Some(cx.waker().clone()),
                    (_, None) => {}
                }
                Claim::Waiting
            }
            Turn::Decided(_) => match std::mem::replace(&mut *turn, Turn::Taken) {
                Turn::Decided(claim) => claim,
                Turn::Waiting(_) | Turn::Taken => Claim::Waiting,
            },
            Turn::Taken => Claim::Waiting,
        }
    }

    fn decide(&self, claim: Claim) -> Option<Waker> {
        match std::mem::replace(&mut *lock(&self.0), Turn::Decided(claim)) {
            Turn::Waiting(waker) => waker,
            Turn::Decided(_) | Turn::Taken => None,
        }
    }
}

/// A caller in the queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) cell: Arc<Cell>,
    pub(crate) kind: u8,
    pub(crate) who: Option<Cow<'static, str>>,
}

/// A caller that was admitted, remembered while it holds.
#[derive(Debug)]
pub(crate) struct Holder {
    who: Option<Cow<'static, str>>,
    weight: u64,
    class: Criticality,
    since: u64,
}

/// Everything under the lock.
pub(crate) struct Core {
    pub(crate) queue: ClassQueue<Waiter>,
    pub(crate) closed: bool,
    pub(crate) draining: bool,
    pub(crate) limit: u64,
    pub(crate) algorithm: Box<dyn LimitAlgorithm>,
    pub(crate) drain: DrainRate,
    pub(crate) slots: ReturnSlots,
    /// Holders by number. Bounded by the units there are, because each holds at least one.
    pub(crate) holders: HashMap<u64, Holder>,
    pub(crate) track: bool,
    pub(crate) next_id: u64,
    pub(crate) random: u64,
    pub(crate) admitted_from_queue: u64,
    pub(crate) declined: u64,
    pub(crate) canceled: u64,
    pub(crate) refused: [u64; Reason::ALL.len()],
}

impl Core {
    pub(crate) fn in_flight(&self, free: &Free) -> u64 {
        u64::try_from(signed(self.limit) - free.units()).unwrap_or(0)
    }

    /// Does a demand of `weight` fit? One heavier than the whole limit fits when nothing else is held.
    pub(crate) fn fits(&self, free: &Free, weight: u64) -> bool {
        free.units() >= signed(weight) || self.in_flight(free) == 0
    }

    pub(crate) fn close(&mut self, free: &Free) {
        if !self.closed {
            self.closed = true;
            free.close();
        }
    }

    /// Hands free units to those that wait, in order; opens the word when nobody is left.
    pub(crate) fn hand_over(&mut self, free: &Free, now: u64, wake: &mut Vec<Waker>) {
        while self.closed {
            if self.queue.is_empty() {
                self.drain.unbound();
                if !self.draining {
                    self.closed = false;
                    free.open();
                }
                return;
            }
            let room = u64::try_from(free.units()).unwrap_or(0);
            let next = match self.queue.pop(room) {
                None if self.in_flight(free) == 0 => self.queue.pop(u64::MAX),
                next => next,
            };
            let Some(Entry { value: waiter, class, weight, .. }) = next else { return };
            free.take(weight);
            self.drain.dispatched(now, weight);
            self.admitted_from_queue += 1;
            let holder = self.remember(now, waiter.who, weight, class);
            wake.extend(waiter.cell.decide(Claim::Granted { at: now, holder, weight, kind: waiter.kind }));
        }
    }

    /// Notes a holder, if holders are tracked.
    pub(crate) fn remember(
        &mut self,
        now: u64,
        who: Option<Cow<'static, str>>,
        weight: u64,
        class: Criticality,
    ) -> Option<u64> {
        if !self.track {
            return None;
        }
        self.next_id += 1;
        self.holders.insert(self.next_id, Holder { who, weight, class, since: now });
        Some(self.next_id)
    }

    /// Changes the limit; the next [`hand_over`](Self::hand_over) serves those that fit now.
    pub(crate) fn resize(&mut self, free: &Free, limit: u64) {
        free.resize(signed(limit) - signed(self.limit));
        self.limit = limit;
    }

    /// The wait for `units` to be served.
    pub(crate) fn estimate(&self, units: u64) -> WaitEstimate {
        let samples = self.drain.windows();
        self.drain.predict(units).map_or_else(WaitEstimate::default, |prediction| WaitEstimate {
            expected: Duration::from_nanos(prediction.p50),
            upper: Duration::from_nanos(prediction.p90),
            samples,
        })
    }

    /// A refusal with a return slot of its own.
    pub(crate) fn refuse(
        &mut self,
        name: &Arc<str>,
        now: u64,
        reason: Reason,
        class: Criticality,
        wait: Option<WaitEstimate>,
    ) -> Refused {
        if let Some(count) = self.refused.get_mut(reason.index()) {
            *count += 1;
        }
        let slot = self.drain.rate().map(|rate| {
            let random = self.random();
            self.slots.give(now, class, rate, 0, random)
        });
        Refused {
            reason,
            worth_retrying: reason != Reason::Draining && slot.is_none_or(|slot| slot.worth_it),
            retry_after: slot.map(|slot| Duration::from_nanos(slot.after)),
            wait,
            limiter: Arc::clone(name),
        }
    }

    /// Tells a displaced waiter.
    pub(crate) fn displace(&mut self, name: &Arc<str>, now: u64, entry: &Entry<Waiter>) -> Option<Waker> {
        let refused = self.refuse(name, now, Reason::Displaced, entry.class, None);
        entry.value.cell.decide(Claim::Refused(refused))
    }

    pub(crate) fn list_holders(&self, now: u64) -> Vec<Occupant> {
        let occupant = |holder: &Holder| Occupant {
            who: holder.who.clone().unwrap_or_default(),
            weight: holder.weight,
            class: holder.class,
            age: Duration::from_nanos(now.saturating_sub(holder.since)),
        };
        let mut holders: Vec<_> = self.holders.values().map(occupant).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.age));
        holders
    }

    pub(crate) fn list_waiters(&self, now: u64) -> Vec<Occupant> {
        let occupant = |entry: &Entry<Waiter>| Occupant {
            who: entry.value.who.clone().unwrap_or_default(),
            weight: entry.weight,
            class: entry.class,
            age: Duration::from_nanos(now.saturating_sub(entry.since)),
        };
        self.queue.iter().map(occupant).collect()
    }

    /// SplitMix64 (Steele, Lea and Flood 2014): enough to spread return slots.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
