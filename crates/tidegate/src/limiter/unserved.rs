//! Those who are not served: their time is over, they did not come for what they were granted, or they are refused.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tidegate_control::queue::{Criticality, Entry};

use crate::clock::nanos;
use crate::readiness::WaitEstimate;
use crate::refused::{Reason, Refused};
use crate::wakes::Wakes;

use super::desk::Desk;
use super::seat::Waiter;
use super::shared::Shared;

/// Refusals closer than this are one stretch of saturation, in which admissions show the drain rate.
const STRETCH: u64 = 1_000_000_000;

impl Desk {
    /// Takes back what was granted long ago and not claimed, if somebody else waits for it.
    pub(super) fn pass_on_unclaimed(&mut self, shared: &Shared) {
        self.grants.forget_taken(&shared.seats);
        let overdue = self.grants.overdue(self.now(), &shared.seats);
        if self.queue.is_empty() {
            return;
        }
        for number in overdue {
            self.take_back(shared, number);
        }
    }

    /// Takes back what was granted to whoever sits on the seat of this number, unless it was claimed at this moment: then
    /// nobody is refused, and nothing is counted.
    pub(super) fn take_back(&mut self, shared: &Shared, number: u32) {
        let Some(seat) = shared.seats.get(number) else { return };
        let (_, weight, class) = seat.given();
        let refusal = || self.uncounted_refusal(shared, Reason::Expired, class, None);
        if let Some(grant) = seat.revoke(refusal) {
            shared.counts.refuse(Reason::Expired);
            shared.counts.expired.fetch_add(1, Relaxed);
            self.give_back(shared, weight, grant.holder);
        }
    }

    /// Answers tickets whose time is over although nobody polls them.
    pub(super) fn expire_overdue(&mut self, shared: &Shared, wakes: &mut Wakes) {
        let now = self.now();
        for entry in self.queue.take_all(|waiter| waiter.expires <= now) {
            self.expire(shared, entry, wakes);
        }
    }

    #[cold]
    pub(super) fn expire(&mut self, shared: &Shared, mut entry: Entry<Waiter>, wakes: &mut Wakes) {
        let refused = self.expired(shared, &entry);
        self.refuse(shared, &mut entry, refused, wakes);
    }

    /// Answers somebody who waited.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        shared: &Shared,
        entry: &mut Entry<Waiter>,
        refused: Refused,
        wakes: &mut Wakes,
    ) {
        let seat = entry.value.seat;
        if shared.seats.get(seat).is_some_and(|seat| seat.refuse(refused)) {
            self.grants.remember(seat);
        }
        wakes.extend(entry.value.waker.take());
    }

    /// The refusal of a ticket whose time is over.
    pub(super) fn expired(&mut self, shared: &Shared, entry: &Entry<Waiter>) -> Refused {
        shared.counts.expired.fetch_add(1, Relaxed);
        let waited = self.now().saturating_sub(entry.since);
        self.outlook.gave_up(entry.value.predicted(), waited);
        let refused = self.refusal(shared, Reason::Expired, entry.class, None);
        // The pace that was measured has not held for it: coming back sooner than it waited in vain helps nobody.
        let after = refused.retry_after().map(|after| after.saturating_add(Duration::from_nanos(waited)));
        refused.after(after)
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
        self.uncounted_refusal(shared, reason, class, wait)
    }

    /// The same, for whom it is not certain yet that it is refused.
    fn uncounted_refusal(
        &mut self,
        shared: &Shared,
        reason: Reason,
        class: Criticality,
        wait: Option<WaitEstimate>,
    ) -> Refused {
        self.learn_pace(shared);
        // Whoever comes back finds those that wait now before it, whether or not they were the reason.
        let ahead = || self.outlook.predict(self.queue.ahead_of(class).saturating_add(1));
        let expected = nanos(wait.unwrap_or_else(ahead).expected);
        let slot = self.outlook.slot(self.now(), class, expected, shared.limit());
        Refused::new(reason, Arc::clone(&shared.name))
            .worth_it(reason != Reason::Draining && slot.is_none_or(|(_, worth_it)| worth_it))
            .after(slot.map(|(after, _)| after))
            .for_wait(wait)
    }

    /// Somebody asks: what is known from long ago is not answered with.
    pub(super) fn recall(&mut self) {
        if self.is_stretch_over() {
            self.outlook.unbound();
        }
        self.outlook.recall(self.now());
    }

    /// The limit holds nobody back any more.
    fn is_stretch_over(&self) -> bool {
        !self.line_stands && self.now().saturating_sub(self.last_refusal) >= STRETCH
    }

    /// Admissions that passed the desk by show the drain rate too, between two refusals.
    fn learn_pace(&mut self, shared: &Shared) {
        let units = shared.counts.units();
        let news = units.wrapping_sub(self.seen_units);
        if self.is_stretch_over() {
            self.outlook.unbound();
        } else if news > 0 && !shared.measured {
            self.outlook.dispatched(self.now(), news);
        }
        self.outlook.bound(self.now());
        self.seen_units = units;
        self.last_refusal = self.now();
    }
}
