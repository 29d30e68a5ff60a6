//! The slow path: everything that is decided under the lock.
//!
//! Every event enters with its time ([`Desk::enter`]), changes what it must, and ends with
//! [`Desk::dispatch`], which hands free units to whoever is next.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tidegate_control::limit::LimitAlgorithm;
use tidegate_control::queue::{ClassQueue, Criticality, Entry, Place};
use tidegate_control::sample::{Sample, View};

use crate::clock::{nanos, unix_now};
use crate::readiness::{Readiness, WaitEstimate};
use crate::refused::{Reason, Refused};
use crate::wakes::Wakes;

use super::occupants::{Holder, Register, Who};
use super::outlook::{Outlook, Question};
use super::seat::{Grant, Seat};
use super::shared::Shared;
use super::state::fits;

/// How often the algorithm hears that time goes by (its contract: 10 ms or so).
const TICK: u64 = 10_000_000;
/// How long a grant may stay unclaimed while others wait: long against any scheduling delay, short against a
/// ticket that somebody keeps in a drawer.
const GRANT_LEASE: u64 = 1_000_000_000;
/// How often the distance between the monotonic and the wall clock is measured anew: a crystal that is off by
/// 50 ppm moves 50 µs in that time, nothing against a shared phase.
const UNIX_EVERY: u64 = 1_000_000_000;
/// Refusals closer than this are one stretch of saturation, in which admissions show the drain rate.
const STRETCH: u64 = 1_000_000_000;

/// What the lock protects.
pub(super) struct Desk {
    pub(super) queue: ClassQueue<Arc<Seat>>,
    pub(super) outlook: Outlook,
    pub(super) algorithm: Option<Box<dyn LimitAlgorithm>>,
    pub(super) register: Register,
    pub(super) draining: bool,
    pub(super) watchers: usize,
    pub(super) tickets: u64,
    /// Readiness as the watchers last heard it.
    pub(super) told: u8,
    grants: Vec<(u64, Arc<Seat>)>,
    grants_checked: usize,
    now: u64,
    area: u64,
    ticked: u64,
    unix_base: u64,
    unix_read: u64,
    /// Units whose admission the drain rate has heard of.
    seen_units: u64,
    last_refusal: u64,
    /// Somebody waits, or did until this event.
    line_stands: bool,
}

impl Desk {
    pub(super) fn new(
        queue: ClassQueue<Arc<Seat>>,
        outlook: Outlook,
        algorithm: Option<Box<dyn LimitAlgorithm>>,
    ) -> Self {
        Self {
            queue,
            outlook,
            algorithm,
            register: Register::default(),
            draining: false,
            watchers: 0,
            tickets: 0,
            told: 0,
            grants: Vec::new(),
            grants_checked: 0,
            now: 0,
            area: 0,
            ticked: 0,
            unix_base: unix_now(),
            unix_read: 0,
            seen_units: 0,
            last_refusal: 0,
            line_stands: false,
        }
    }

    /// An event at `read`, a reading of the clock made before the lock was had. Returns the event's time, which
    /// never runs backwards.
    pub(super) fn enter(&mut self, shared: &Shared, read: u64) -> u64 {
        let now = self.now.max(read);
        if shared.measured {
            self.area = self.area.wrapping_add(shared.in_flight().wrapping_mul(now - self.now));
        }
        self.now = now;
        now
    }

    /// Does somebody wait?
    pub(super) fn line_stands(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The time of the event being handled.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// The limiter as the algorithm sees it now.
    pub(super) fn view(&self, shared: &Shared) -> View {
        let in_flight = shared.in_flight();
        let limit = shared.limit();
        let waiting = if shared.dry_run { in_flight.saturating_sub(limit) } else { self.queue.len() as u64 };
        let unix = self.unix_base.saturating_add(self.now.saturating_sub(self.unix_read));
        View { now: self.now, unix, in_flight, waiting, limit, area: self.area }
    }

    /// Lets time go by: every [`TICK`], or `at_once`.
    pub(super) fn tick(&mut self, shared: &Shared, wakes: &mut Wakes, at_once: bool) {
        if !at_once && self.now.saturating_sub(self.ticked) < TICK {
            return;
        }
        self.ticked = self.now;
        if self.now.saturating_sub(self.unix_read) >= UNIX_EVERY {
            self.unix_base = unix_now();
            self.unix_read = self.now;
        }
        let view = self.view(shared);
        if let Some(algorithm) = &mut self.algorithm {
            let limit = algorithm.on_tick(&view);
            shared.resize(limit.max(1));
            self.outlook.tick(self.now, shared.limit(), algorithm.is_searching());
        }
        self.expire_overdue(shared, wakes);
        self.pass_on_unclaimed(shared);
    }

    /// Somebody could not be admitted at once.
    pub(super) fn pressure(&mut self, shared: &Shared) {
        let view = self.view(shared);
        if let Some(algorithm) = &mut self.algorithm {
            let limit = algorithm.on_pressure(&view);
            shared.resize(limit.max(1));
        }
    }

    /// A permit comes back (its units are still counted as held).
    pub(super) fn complete(&mut self, shared: &Shared, mut sample: Sample) {
        sample.at = self.view(shared);
        self.outlook.served(&sample);
        if let Some(algorithm) = &mut self.algorithm {
            let limit = algorithm.on_sample(&sample);
            shared.resize(limit.max(1));
        }
    }

    /// Hands free units to whoever is next, until nobody fits.
    pub(super) fn dispatch(&mut self, shared: &Shared, wakes: &mut Wakes) {
        while !self.queue.is_empty() {
            let (free, limit) = (shared.gate.read().free(), shared.limit());
            // With nothing held even a demand heavier than the limit may go.
            let room = if fits(free, u64::MAX, limit) { u64::MAX } else { u64::try_from(free).unwrap_or(0) };
            if room == 0 {
                break;
            }
            let Some(Entry { value: seat, weight, class, .. }) = self.queue.pop(room) else { break };
            if seat.expires <= self.now {
                self.expire(shared, &seat, wakes);
                continue;
            }
            shared.gate.take_anyway(weight);
            let holder = shared.tracked.then(|| self.register_holder(seat.who.clone(), weight, class));
            if !seat.grant(Grant { at: self.now, holder }, wakes) {
                // It left without the desk hearing of it, which `leave` rules out; its units must not.
                self.give_back(shared, weight, holder);
                continue;
            }
            shared.counts.admit(weight, shared.in_flight());
            self.seen_units = self.seen_units.wrapping_add(weight);
            self.outlook.dispatched(self.now, weight);
            self.outlook.waited(seat.predicted, self.now.saturating_sub(seat.since));
            self.remember_grant(seat);
        }
        if self.queue.is_empty() {
            if std::mem::take(&mut self.line_stands) {
                self.outlook.unbound();
            }
            if !self.draining && shared.gate.read().waiting() {
                shared.gate.set_waiting(false);
            }
        }
    }

    /// Lines a caller up; `None` if every place is taken. Whoever must make room for it is told.
    pub(super) fn line_up(&mut self, shared: &Shared, seat: &Arc<Seat>, wakes: &mut Wakes) -> Option<u64> {
        let (class, weight) = (seat.class, seat.weight);
        let entry = Entry { value: Arc::clone(seat), class, weight, since: self.now };
        let pushed = self.queue.push(entry).ok()?;
        let _ = seat.place.set(pushed.place); // a new seat has none yet
        if let Some(entry) = pushed.displaced {
            let refused = self.refusal(shared, Reason::Displaced, entry.class, None);
            entry.value.refuse(refused, wakes);
        }
        if !std::mem::replace(&mut self.line_stands, true) {
            // What was admitted before says nothing about the rate from now on.
            self.seen_units = shared.counts.units();
        }
        self.outlook.bound(self.now);
        self.tickets += 1;
        Some(self.tickets)
    }

    /// Enters a holder in the register.
    pub(super) fn register_holder(&mut self, who: Who, weight: u64, class: Criticality) -> usize {
        self.register.enter(Holder { who, weight, class, since: self.now })
    }

    /// Units come back.
    pub(super) fn give_back(&mut self, shared: &Shared, weight: u64, holder: Option<usize>) {
        if let Some(place) = holder {
            self.register.strike(place);
        }
        shared.gate.give(weight);
    }

    fn remember_grant(&mut self, seat: Arc<Seat>) {
        self.grants.push((self.now, seat));
        if self.grants.len() > 2 * self.grants_checked + 16 {
            self.forget_claimed();
        }
    }

    fn forget_claimed(&mut self) {
        self.grants.retain(|(_, seat)| seat.is_unclaimed());
        self.grants_checked = self.grants.len();
    }

    /// Takes back what was granted long ago and not claimed, if somebody else waits for it.
    fn pass_on_unclaimed(&mut self, shared: &Shared) {
        self.forget_claimed();
        if self.queue.is_empty() {
            return;
        }
        let overdue = self.grants.partition_point(|(at, _)| at.saturating_add(GRANT_LEASE) <= self.now);
        for (_, seat) in self.grants.drain(..overdue).collect::<Vec<_>>() {
            let refusal = || self.refusal(shared, Reason::Expired, seat.class, None);
            if let Some(grant) = seat.revoke(refusal) {
                shared.counts.expired.fetch_add(1, Relaxed);
                self.give_back(shared, seat.weight, grant.holder);
            }
        }
    }

    /// Answers tickets whose time is over although nobody polls them.
    fn expire_overdue(&mut self, shared: &Shared, wakes: &mut Wakes) {
        let now = self.now;
        let overdue: Vec<Place> = self
            .queue
            .iter()
            .filter(|entry| entry.value.expires <= now)
            .filter_map(|entry| entry.value.place.get().copied())
            .collect();
        for place in overdue {
            if let Some(entry) = self.queue.remove(place) {
                self.expire(shared, &entry.value, wakes);
            }
        }
    }

    fn expire(&mut self, shared: &Shared, seat: &Seat, wakes: &mut Wakes) {
        let refused = self.expired(shared, seat);
        seat.refuse(refused, wakes);
    }

    /// The refusal of a ticket whose time is over.
    pub(super) fn expired(&mut self, shared: &Shared, seat: &Seat) -> Refused {
        shared.counts.expired.fetch_add(1, Relaxed);
        let waited = self.now.saturating_sub(seat.since);
        self.outlook.gave_up(seat.predicted, waited);
        let mut refused = self.refusal(shared, Reason::Expired, seat.class, None);
        // The pace that was measured has not held for it: coming back sooner than it waited in vain helps nobody.
        refused.retry_after = refused.retry_after.map(|after| after + Duration::from_nanos(waited));
        refused
    }

    /// Refuses, with a return slot of the caller's own.
    pub(super) fn refusal(
        &mut self,
        shared: &Shared,
        reason: Reason,
        class: Criticality,
        wait: Option<WaitEstimate>,
    ) -> Refused {
        shared.counts.refuse(reason);
        self.learn_pace(shared);
        // Whoever comes back finds those that wait now before it, whether or not they were the reason.
        let ahead = || self.outlook.predict(self.queue.ahead_of(class).saturating_add(1));
        let expected = nanos(wait.unwrap_or_else(ahead).expected);
        let slot = self.outlook.slot(self.now, class, expected, shared.limit());
        Refused {
            reason,
            worth_retrying: reason != Reason::Draining && slot.is_none_or(|(_, worth_it)| worth_it),
            retry_after: slot.map(|(after, _)| after),
            wait,
            limiter: Arc::clone(&shared.name),
        }
    }

    /// Admissions that passed the desk by show the drain rate too, between two refusals.
    fn learn_pace(&mut self, shared: &Shared) {
        let units = shared.counts.units();
        let news = units.wrapping_sub(self.seen_units);
        if !self.line_stands && self.now.saturating_sub(self.last_refusal) >= STRETCH {
            self.outlook.unbound();
        } else if news > 0 && !shared.measured {
            self.outlook.dispatched(self.now, news);
        }
        self.outlook.bound(self.now);
        self.seen_units = units;
        self.last_refusal = self.now;
    }

    /// What a caller with this question would meet. Reserves nothing.
    pub(super) fn readiness(&mut self, shared: &Shared, question: &Question) -> Readiness {
        if self.draining {
            return Readiness::Draining { retry_after: None };
        }
        let free = shared.gate.read().free();
        if self.queue.is_empty() && fits(free, question.weight, shared.limit()) {
            return Readiness::Ready { available: u64::try_from(free).unwrap_or(0) };
        }
        if self.queue.len() < shared.queue_capacity {
            if let Ok(wait) = self.outlook.ask(question) {
                return Readiness::Busy { ahead: question.ahead, wait };
            }
        }
        let wait = self.outlook.predict(question.ahead.saturating_add(question.weight));
        Readiness::Saturated { retry_after: (wait.samples > 0).then_some(wait.expected) }
    }

    /// Readiness without its figures, for watchers.
    pub(super) fn readiness_kind(&self, shared: &Shared) -> u8 {
        if self.draining {
            3
        } else if self.queue.is_empty() && shared.gate.read().free() > 0 {
            0
        } else if self.queue.len() < shared.queue_capacity {
            1
        } else {
            2
        }
    }
}
