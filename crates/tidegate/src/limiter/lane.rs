//! The short ways past the desk, where there is nothing to decide: joining a line that moves fast, and handing units
//! over to its head.
//!
//! They are for a limiter that neither measures nor tracks. Units that go from hand to hand never touch the word that
//! newcomers race for, and where nobody is expected to wait longer than [`SHORT`](super::alarm::SHORT) most events go by the last reading
//! of the clock: never older than [`SLACK`], as long as the alarms are on time.

use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use tidegate_control::queue::Place;

use crate::demand::Demand;
use crate::sync::lock;
use crate::wakes::Wakes;

use super::alarm::SLACK;
use super::desk::Desk;
use super::door::Terms;
use super::ringer::Ringer;
use super::seat::More;
use super::shared::Shared;

/// A caller in the queue.
#[derive(Debug)]
pub(super) struct Joined {
    /// The number of its seat.
    pub(super) seat: u32,
    pub(super) place: Place,
    /// When it came.
    pub(super) since: u64,
}

impl Shared {
    /// Lines a caller up behind others, with its waker and a shared alarm to lean on, without a look at the
    /// clock. `None`: it must ask at the desk.
    #[inline(always)]
    pub(super) fn join(&self, demand: &Demand, waker: &Waker) -> Option<(Joined, Terms)> {
        if !self.brisk.load(Relaxed) || demand.has_times() {
            return None;
        }
        // The thread rings for everybody. To ask which runtime this is changes a count twice that all threads share.
        let ringer = if self.thread_rings.load(Relaxed) { Ringer::Thread } else { Ringer::here()? };
        // Before the lock, which others want meanwhile.
        let (waker, more) = (waker.clone(), More::of(None, demand.who()));
        let mut desk = lock(&self.desk);
        let desk = &mut *desk;
        let roomy = !desk.draining && desk.watchers == 0 && desk.queue.len() < desk.queue.capacity();
        if !roomy || !desk.line_stands() || !self.is_short(desk, demand) {
            return None;
        }
        // What is free although somebody waits was too little for the first in line, and may be enough for this one.
        if self.gate.read().free() > 0 {
            return None;
        }
        let alarm = desk.alarms.set_on(ringer)?;
        if !desk.goes_by_last_reading() {
            return None;
        }
        let since = desk.now();
        let expires = since.saturating_add(self.usual_wait).saturating_add(SLACK);
        let (class, weight) = (demand.class, demand.weight);
        // Who gave units back meanwhile comes to the desk.
        let seat = desk.grants.seat(&self.seats)?;
        let Some((place, waiter)) = desk.queue.push_free(class, weight, since) else {
            desk.grants.vacate(seat);
            return None;
        };
        waiter.waker = Some(waker);
        waiter.seat = seat;
        waiter.leans = Some(alarm);
        waiter.expires = expires;
        waiter.more = more;
        Some((Joined { seat, place, since }, Terms { id: desk.next_ticket(), expires, short: true }))
    }

    /// Is a newcomer expected to wait no longer than [`SHORT`](super::alarm::SHORT)?
    #[inline]
    pub(super) fn is_short(&self, desk: &Desk, demand: &Demand) -> bool {
        let units = desk.queue.ahead_of(demand.class).saturating_add(demand.weight);
        self.plain && self.usual_wait >= SLACK && units <= desk.short_units
    }

    /// Units of a plain limiter come back while somebody waits.
    #[inline(never)]
    pub(super) fn hand_over(&self, weight: u64) {
        // Where waits are short, most readings would be for nothing, and are made at the desk if need be.
        let read = if self.brisk.load(Relaxed) { None } else { Some(self.clock.now()) };
        let mut desk = lock(&self.desk);
        // Otherwise more than these units may have to be looked at.
        let one_for_one = desk.watchers == 0 && self.gate.read().free() == 0;
        if one_for_one {
            if let Some(waker) = desk.hand_on(self, weight) {
                desk.look_whether_the_line_ended(self);
                drop(desk);
                if let Some(waker) = waker {
                    waker.wake();
                }
                return;
            }
        }
        let mut wakes = Wakes::default();
        let next = if one_for_one { desk.queue.pop(weight) } else { None };
        let taken = next.as_ref().map_or(0, |entry| entry.weight);
        if let Some(entry) = next {
            desk.enter(self, read.unwrap_or_else(|| self.clock.now()));
            desk.grant_taken(self, entry, &mut wakes);
            desk.tick(self, &mut wakes, false);
        }
        if taken < weight {
            self.gate.give(weight - taken);
        }
        // Nobody else fits into what was taken over whole.
        let done = taken == weight && self.gate.read().free() <= 0;
        if done {
            desk.look_whether_the_line_ended(self);
        }
        drop(desk);
        wakes.run();
        if !done {
            self.dispatch();
        }
    }

    /// Does nobody wait long? Newcomers and those who give back ask before they come to the desk, whose lock is held.
    pub(super) fn set_brisk(&self, yes: bool) {
        if self.brisk.load(Relaxed) != yes {
            self.brisk.store(yes, Relaxed);
        }
    }
}
