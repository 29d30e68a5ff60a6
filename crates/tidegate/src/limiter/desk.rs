//! The slow path: everything that is decided under the lock.
//!
//! Every event enters with its time ([`Desk::enter`]), changes what it must, and ends with
//! [`Desk::dispatch`], which hands free units to whoever is next.

use std::task::Waker;

use tidegate_control::limit::LimitAlgorithm;
use tidegate_control::queue::{ClassQueue, Criticality, Entry, Place};
use tidegate_control::sample::{Sample, View};

use crate::clock::unix_now;
use crate::refused::Reason;
use crate::wakes::Wakes;

use super::alarm::{Alarms, SHORT};
use super::grants::Grants;
use super::occupants::{Holder, Register, Who};
use super::outlook::Outlook;
use super::seat::{Grant, Waiter};
use super::shared::Shared;
use super::state::fits;

/// How often the algorithm hears that time goes by (its contract: 10 ms or so).
const TICK: u64 = 10_000_000;
/// How often the distance between the monotonic and the wall clock is measured anew: a crystal that is off by
/// 50 ppm moves 50 µs in that time, nothing against a shared phase.
const UNIX_EVERY: u64 = 1_000_000_000;
/// As many events go by one reading of the clock, where nobody waits long: waits are measured on one in 256. In lines of less
/// than some fifty thousand events a second on more: a reading is no older than the alarm.
const EVENTS_BY_ONE_READING: u32 = 512;

/// What the lock protects. What every event of a fast line writes stands together, in the cache line of the lock and one
/// more: the fewer, the sooner the other thread has them.
#[repr(C)]
pub(super) struct Desk {
    /// A cache line of what is written, the lock before it, and one of what is only read, with the reading after it.
    pub(super) queue: ClassQueue<Waiter>,
    now: u64,
    /// Handed over since the clock was last read: callers, and their units.
    handed: u64,
    handed_units: u64,
    pub(super) tickets: u64,
    /// How many more events may go by the last reading of the clock.
    readings_left: u32,
    /// Readiness as the watchers last heard it.
    pub(super) told: u8,
    pub(super) draining: bool,
    /// Somebody waits, or did until this event.
    pub(super) line_stands: bool,
    pub(super) grants: Grants,
    /// Units that are expected to be admitted within [`SHORT`].
    pub(super) short_units: u64,
    pub(super) watchers: usize,
    pub(super) alarms: Alarms,
    area: u64,
    ticked: u64,
    unix_base: u64,
    unix_read: u64,
    /// Units whose admission the drain rate has heard of.
    pub(super) seen_units: u64,
    pub(super) last_refusal: u64,
    pub(super) register: Register,
    pub(super) algorithm: Option<Box<dyn LimitAlgorithm>>,
    pub(super) outlook: Outlook,
}

impl Desk {
    pub(super) fn new(
        queue: ClassQueue<Waiter>,
        outlook: Outlook,
        algorithm: Option<Box<dyn LimitAlgorithm>>,
    ) -> Self {
        Self {
            queue,
            alarms: Alarms::default(),
            outlook,
            algorithm,
            register: Register::default(),
            draining: false,
            watchers: 0,
            tickets: 0,
            told: 0,
            grants: Grants::default(),
            now: 0,
            short_units: 0,
            readings_left: 0,
            handed: 0,
            handed_units: 0,
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
        self.readings_left = EVENTS_BY_ONE_READING;
        if self.handed > 0 {
            let units = self.handed_units;
            self.count_handed(shared);
            self.outlook.dispatched(now, units);
        }
        if shared.plain {
            self.short_units = self.outlook.admitted_within(now, SHORT);
        }
        now
    }

    /// May this event go by the last reading of the clock? (What bounds its age is [`Alarms`].)
    #[inline(always)]
    pub(super) fn goes_by_last_reading(&mut self) -> bool {
        let left = self.readings_left.checked_sub(1);
        self.readings_left = left.unwrap_or(0);
        left.is_some()
    }

    /// The last reading of the clock is too old.
    pub(super) fn read_the_clock_next(&mut self) {
        self.readings_left = 0;
    }

    /// Callers admitted that the counts have not heard of.
    pub(super) fn uncounted(&self) -> u64 {
        self.handed
    }

    fn count_handed(&mut self, shared: &Shared) {
        let (callers, units) = (std::mem::take(&mut self.handed), std::mem::take(&mut self.handed_units));
        shared.counts.handed(callers, units);
        self.seen_units = self.seen_units.wrapping_add(units);
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
        let mut view = View::default();
        (view.now, view.unix, view.area) = (self.now, unix, self.area);
        (view.in_flight, view.waiting, view.limit) = (in_flight, waiting, limit);
        view
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
            let Some(entry) = self.queue.pop(room) else { break };
            if entry.value.expires <= self.now {
                self.expire(shared, entry, wakes);
                continue;
            }
            shared.gate.take_anyway(entry.weight);
            self.grant(shared, entry, wakes);
        }
        self.look_whether_the_line_ended(shared);
    }

    /// Hands units that are taken already to who was next in the queue. The clock was read for it.
    fn grant(&mut self, shared: &Shared, entry: Entry<Waiter>, wakes: &mut Wakes) {
        let Entry { value: waiter, weight, class, since } = entry;
        let predicted = waiter.more.as_ref().and_then(|more| more.predicted);
        let who = || waiter.more.and_then(|more| more.who);
        let holder = shared.tracked.then(|| self.register_holder(who(), weight, class));
        // Work of those whose wait is not measured is not measured either: most permits need no clock.
        let grant = Grant { at: self.now, exact: waiter.exact, holder };
        if !shared.seats.get(waiter.seat).is_some_and(|seat| seat.grant(grant, weight, class)) {
            // It left without the desk hearing of it, which `leave` rules out; its units must not.
            self.give_back(shared, weight, holder);
            return;
        }
        wakes.extend(waiter.waker);
        shared.counts.admit(weight, shared.in_flight());
        self.seen_units = self.seen_units.wrapping_add(weight);
        self.outlook.dispatched(self.now, weight);
        if waiter.exact {
            self.outlook.waited(predicted, self.now.saturating_sub(since));
        }
        self.grants.remember(waiter.seat);
    }

    /// Hands `weight` units over to who is next, if that one leans on an alarm and wants just so many, at about the
    /// last reading of the clock. Whom to wake, if so.
    #[inline(always)]
    pub(super) fn hand_on(&mut self, shared: &Shared, weight: u64) -> Option<Option<Waker>> {
        let left = self.readings_left.checked_sub(1)?;
        let grant = Grant { at: self.now, exact: false, holder: None };
        let mut first = self.queue.only_first()?;
        let entry = first.entry()?;
        let waiter = &mut entry.value;
        let fits = !waiter.exact && waiter.leans.is_some() && entry.weight == weight;
        if !fits || !shared.seats.get(waiter.seat)?.grant(grant, weight, entry.class) {
            return None;
        }
        let (seat, waker, _more) = (waiter.seat, waiter.waker.take(), waiter.more.take());
        first.serve_emptied();
        self.readings_left = left;
        self.handed += 1;
        self.handed_units = self.handed_units.wrapping_add(weight);
        self.grants.remember(seat);
        Some(waker)
    }

    /// Hands units over at the desk: whoever is next takes them over from who held them, and they are never free.
    pub(super) fn grant_taken(&mut self, shared: &Shared, entry: Entry<Waiter>, wakes: &mut Wakes) {
        if entry.value.expires <= self.now {
            let weight = entry.weight;
            self.expire(shared, entry, wakes);
            shared.gate.give(weight);
        } else {
            self.grant(shared, entry, wakes);
        }
    }

    /// When nobody waits any more, newcomers may take units again.
    pub(super) fn look_whether_the_line_ended(&mut self, shared: &Shared) {
        if !self.queue.is_empty() {
            return;
        }
        if std::mem::take(&mut self.line_stands) {
            self.count_handed(shared);
            self.outlook.unbound();
            shared.set_brisk(false);
        }
        if !self.draining && shared.gate.read().waiting() {
            shared.gate.set_waiting(false);
        }
    }

    /// Lines a caller up: its place, and the number of its ticket. `None` if every place is taken. Whoever must make
    /// room for it is told.
    pub(super) fn line_up(
        &mut self,
        shared: &Shared,
        entry: Entry<Waiter>,
        wakes: &mut Wakes,
    ) -> Option<(Place, u64)> {
        let pushed = self.queue.push(entry).ok()?;
        if let Some(mut entry) = pushed.displaced {
            let refused = self.refusal(shared, Reason::Displaced, entry.class, None);
            self.refuse(shared, &mut entry, refused, wakes);
        }
        if !std::mem::replace(&mut self.line_stands, true) {
            // What was admitted before says nothing about the rate from now on.
            self.seen_units = shared.counts.units();
        }
        self.outlook.bound(self.now);
        Some((pushed.place, self.next_ticket()))
    }

    /// The number of a new ticket.
    #[inline]
    pub(super) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Enters a holder in the register.
    pub(super) fn register_holder(&mut self, who: Who, weight: u64, class: Criticality) -> u32 {
        self.register.enter(Holder { who, weight, class, since: self.now })
    }

    /// Units come back.
    pub(super) fn give_back(&mut self, shared: &Shared, weight: u64, holder: Option<u32>) {
        if let Some(place) = holder {
            self.register.strike(place);
        }
        shared.gate.give(weight);
    }

    /// Takes somebody who waited out of the queue, and off the seat.
    pub(super) fn take_out(&mut self, seat: u32, place: Place) -> Option<Entry<Waiter>> {
        let entry = self.queue.remove(place)?;
        self.grants.vacate(seat);
        Some(entry)
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn what_every_event_of_a_fast_line_writes_is_on_the_lock_s_cache_line_and_one_more() {
        // The lock itself comes first; the line of the default class is the third of four.
        const LOCK: usize = 8;
        assert_eq!(size_of::<ClassQueue<Waiter>>(), 112);
        assert_eq!(LOCK + offset_of!(Desk, handed), 2 * 64);
        assert!(LOCK + offset_of!(Desk, grants) + Grants::WRITTEN <= 3 * 64);
    }
}
