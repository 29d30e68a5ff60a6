//! The credit of a channel: what is charged, who waits for it, and who is next. Knows nothing of the items.
//!
//! Lives under the channel's lock. After every change [`grant`](Ledger::grant) hands out what has become free, so nobody
//! waits for credit that is there.

use std::task::{Poll, Waker};

use tidegate_control::queue::{ClassQueue, Criticality, Entry};

use crate::clock::Clock;
use crate::wakes::Wakes;

use super::outlet::Returns;
use super::pace::Pace;
use super::seats::{Seat, Seats};
use super::span::Span;
use super::tags::Tags;
use super::tally::Tally;
use super::unclaimed::Unclaimed;

/// So many bytes and items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    pub(super) items: usize,
}

impl Amount {
    #[inline]
    pub(super) fn add(&mut self, bytes: u64, items: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.items += items;
    }

    #[inline]
    pub(super) fn take(&mut self, bytes: u64, items: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.items = self.items.saturating_sub(items);
    }
}

/// What one item needs, and on whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) bytes: u64,
    pub(super) tag: u32,
}

/// Does the receiver take items?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// No new ones; those inside and those that were promised room are still received.
    Closing,
    /// The receiver is gone.
    Gone,
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) max_items: usize,
    /// What may be charged now: the most, or what the target delay makes of it.
    capacity: u64,
    span: Option<Span>,
    /// All of it: reserved, queued and leased.
    pub(super) charged: Amount,
    pub(super) reserved: Amount,
    pub(super) queued: Amount,
    line: ClassQueue<u32>,
    pub(super) seats: Seats,
    pub(super) unclaimed: Unclaimed,
    pub(super) door: Door,
    /// Did the receiver find nothing when it last looked?
    starved: bool,
    pub(super) tags: Tags,
    pub(super) pace: Pace,
    pub(super) tally: Tally,
    pub(super) clock: Clock,
}

impl Ledger {
    pub(super) fn new(max: Amount, max_waiters: usize, span: Option<Span>, clock: Clock) -> Self {
        Self {
            max_items: max.items,
            capacity: max.bytes,
            span,
            charged: Amount::default(),
            reserved: Amount::default(),
            queued: Amount::default(),
            line: ClassQueue::new(max_waiters),
            seats: Seats::default(),
            unclaimed: Unclaimed::default(),
            door: Door::Open,
            starved: true,
            tags: Tags::new(),
            pace: Pace::new(clock.now()),
            tally: Tally::default(),
            clock,
        }
    }

    /// Is there room for a newcomer: nobody waits, and it fits?
    #[inline]
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.line.is_empty()
            && self.charged.items < self.max_items
            && self.charged.bytes.checked_add(bytes).is_some_and(|sum| sum <= self.capacity)
    }

    /// The same for one that is larger than what may be charged now: when nothing is charged, it may enter alone.
    pub(super) fn fits_alone(&self) -> bool {
        self.line.is_empty() && self.charged == Amount::default()
    }

    /// Bytes that may be charged more.
    pub(super) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.charged.bytes)
    }

    /// Items that may be charged more.
    pub(super) fn free_items(&self) -> usize {
        self.max_items.saturating_sub(self.charged.items)
    }

    /// How long ago `since` was.
    pub(super) fn age(&self, since: u64) -> u64 {
        self.clock.now().saturating_sub(since)
    }

    /// The moment so long ago.
    pub(super) fn ago(&self, age: u64) -> u64 {
        self.clock.now().saturating_sub(age)
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn charged(&self) -> Amount {
        self.charged
    }

    pub(super) fn leased(&self) -> Amount {
        let Amount { mut bytes, mut items } = self.charged;
        bytes = bytes.saturating_sub(self.reserved.bytes).saturating_sub(self.queued.bytes);
        items = items.saturating_sub(self.reserved.items).saturating_sub(self.queued.items);
        Amount { bytes, items }
    }

    pub(super) fn waiting(&self) -> Amount {
        Amount { bytes: self.line.waiting_weight(), items: self.line.len() }
    }

    pub(super) fn somebody_waits(&self) -> bool {
        !self.line.is_empty()
    }

    pub(super) fn line_is_full(&self) -> bool {
        self.line.len() >= self.line.capacity()
    }

    /// Is there something for the receiver, or for whoever holds what it received, to do?
    fn is_busy(&self) -> bool {
        self.charged != self.reserved
    }

    /// Charges one item that is put into the queue; the time at which it was.
    #[inline]
    pub(super) fn admit(&mut self, need: Need) -> u64 {
        let now = self.queue_one(need.bytes);
        self.charged.add(need.bytes, 1);
        self.tags.charge(need.tag, need.bytes, 1, now);
        now
    }

    /// Charges one item that is still to come; the time at which it was.
    pub(super) fn reserve(&mut self, need: Need) -> u64 {
        let now = self.pace.about(&self.clock);
        self.charged.add(need.bytes, 1);
        self.reserved.add(need.bytes, 1);
        self.tags.charge(need.tag, need.bytes, 1, now);
        now
    }

    /// What was reserved is in the queue now.
    pub(super) fn enter(&mut self, bytes: u64) {
        self.reserved.take(bytes, 1);
        self.queue_one(bytes);
    }

    #[inline]
    fn queue_one(&mut self, bytes: u64) -> u64 {
        self.queued.add(bytes, 1);
        self.tally.accepted += 1;
        self.pace.came(bytes);
        if std::mem::take(&mut self.starved) {
            self.pace.busy(&self.clock)
        } else {
            self.pace.about(&self.clock)
        }
    }

    /// The receiver takes one out of the queue.
    #[inline]
    pub(super) fn deliver(&mut self, bytes: u64) {
        self.queued.take(bytes, 1);
        self.tally.delivered += 1;
    }

    /// The receiver found nothing. Unless something is still in hand, the time from now on is no measure of its pace.
    pub(super) fn starve(&mut self) {
        if !std::mem::replace(&mut self.starved, true) && !self.is_busy() {
            self.pace.rest(&self.clock);
        }
    }

    /// What the receiver took and freed meanwhile. Nobody waits for the credit in it: while somebody does, none is noted.
    pub(super) fn fold(&mut self, returns: &mut Returns) {
        let taken = std::mem::take(&mut returns.taken);
        self.queued.take(taken.bytes, taken.items);
        self.tally.delivered += taken.items as u64;
        let freed = std::mem::take(&mut returns.freed);
        if freed != Amount::default() {
            self.charged.take(freed.bytes, freed.items);
            self.pace.went(freed.bytes, freed.items);
            for (tag, sum) in returns.sums.iter_mut().enumerate() {
                self.tags.release_sum(tag, std::mem::take(sum));
            }
        }
        self.pace.about(&self.clock);
        if self.line.is_empty() {
            self.resize();
        }
    }

    /// What was leased is free again. [`grant`](Self::grant) has to follow.
    pub(super) fn release(&mut self, need: Need, items: usize, since: u64) {
        self.charged.take(need.bytes, items);
        self.tags.release(need.tag, need.bytes, items, since);
        self.pace.went(need.bytes, items);
        if self.starved && !self.is_busy() {
            self.pace.rest(&self.clock);
        } else {
            self.pace.about(&self.clock);
        }
        self.resize();
    }

    /// Is a release news to somebody: to those that wait, to the measure of the pace, which has to know when the last one was,
    /// or to a capacity that follows the pace?
    pub(super) fn wants_attention(&self) -> bool {
        !self.line.is_empty() || self.starved && self.is_busy() || self.span.is_some()
    }

    /// What was queued is free again, without having been received.
    pub(super) fn displace(&mut self, need: Need, since: u64) {
        self.queued.take(need.bytes, 1);
        self.charged.take(need.bytes, 1);
        self.tags.release(need.tag, need.bytes, 1, since);
    }

    /// What was reserved, or a part of it, is free again.
    pub(super) fn unreserve(&mut self, need: Need, items: usize, since: u64, wakes: &mut Wakes) {
        self.reserved.take(need.bytes, items);
        self.charged.take(need.bytes, items);
        self.tags.release(need.tag, need.bytes, items, since);
        self.grant(wakes);
    }

    /// What is leased elsewhere is charged here as well from now on, if there is room for it.
    pub(super) fn adopt(&mut self, need: Need, items: usize, since: u64) -> bool {
        let room = self.door == Door::Open
            && self.line.is_empty()
            && self.max_items.saturating_sub(self.charged.items) >= items
            && self.charged.bytes.checked_add(need.bytes).is_some_and(|sum| sum <= self.capacity);
        if room {
            if self.starved && !self.is_busy() {
                self.pace.busy(&self.clock);
            }
            self.charged.add(need.bytes, items);
            self.tags.charge(need.tag, need.bytes, items, since);
        }
        room
    }

    /// Joins the line; the seat. `None` if it is full. What was freed has to be folded in before, and [`grant`](Self::grant) to
    /// follow: a small one may pass.
    pub(super) fn join(&mut self, need: Need) -> Option<u32> {
        let since = self.pace.about(&self.clock);
        let value = self.seats.next();
        let entry = Entry { value, class: Criticality::default(), weight: need.bytes, since };
        let pushed = self.line.push(entry).ok()?;
        Some(self.seats.take(Seat::Waiting { place: pushed.place, need, waker: None }))
    }

    /// Hands what is free to whoever is next: the head of the line, or one that may pass it.
    pub(super) fn grant(&mut self, wakes: &mut Wakes) {
        if !self.line.is_empty() {
            self.take_back_unclaimed();
        }
        while !self.line.is_empty() && self.door == Door::Open && self.charged.items < self.max_items {
            let room = match self.charged.bytes {
                // Also one that is larger than all may enter, alone.
                0 => u64::MAX,
                // Beside such a one there is no room even for nothing.
                charged if charged > self.capacity => return,
                charged => self.capacity - charged,
            };
            let Some(entry) = self.line.pop(room) else { return };
            let Some(Seat::Waiting { need, .. }) = self.seats.get_mut(entry.value) else { continue };
            let need = *need;
            let since = self.reserve(need);
            let granted = Seat::Granted { need, since };
            self.unclaimed.granted();
            if let Some(Seat::Waiting { waker, .. }) = self.seats.replace(entry.value, granted) {
                wakes.extend(waker);
            }
        }
    }

    /// The answer on a seat: since when the credit is charged (none if it was, and passed on), or a waker left there. A waker
    /// that it takes the place of is handed out through `old`, to be dropped when the lock is free.
    pub(super) fn poll(
        &mut self,
        at: u32,
        waker: Option<&Waker>,
        old: &mut Option<Waker>,
    ) -> Poll<Option<u64>> {
        match self.seats.get_mut(at) {
            Some(Seat::Granted { since, .. }) => {
                let since = *since;
                self.seats.give_back(at);
                self.unclaimed.fetched();
                Poll::Ready(Some(since))
            }
            Some(Seat::Lapsed) => {
                self.seats.give_back(at);
                Poll::Ready(None)
            }
            Some(Seat::Waiting { waker: parked, .. }) => {
                let news = waker.filter(|waker| !parked.as_ref().is_some_and(|it| it.will_wake(waker)));
                *old = news.and_then(|waker| parked.replace(waker.clone()));
                Poll::Pending
            }
            Some(Seat::Owing(_) | Seat::Free(_)) | None => Poll::Pending,
        }
    }

    /// A sender goes before it fetched its credit. Its waker is handed out, to be dropped when the lock is free.
    pub(super) fn vacate(&mut self, at: u32, wakes: &mut Wakes) -> Option<Waker> {
        match self.seats.give_back(at)? {
            Seat::Waiting { place, waker, .. } => {
                self.line.remove(place);
                self.grant(wakes);
                waker
            }
            Seat::Granted { need, since } => {
                self.unclaimed.fetched();
                self.unreserve(need, 1, since, wakes);
                None
            }
            Seat::Owing(waker) => waker,
            Seat::Lapsed | Seat::Free(_) => None,
        }
    }

    /// A seat for one that has its credit and waits for the budget's.
    pub(super) fn owe(&mut self) -> u32 {
        self.seats.take(Seat::Owing(None))
    }

    /// It goes on waiting. The waker that `waker` takes the place of, to be dropped when the lock is free.
    pub(super) fn owe_on(&mut self, at: u32, waker: &Waker) -> Option<Waker> {
        let Some(Seat::Owing(parked)) = self.seats.get_mut(at) else { return None };
        let known = parked.as_ref().is_some_and(|it| it.will_wake(waker));
        if known { None } else { parked.replace(waker.clone()) }
    }

    /// Nobody waits any longer: all are woken, to find the door closed.
    pub(super) fn close(&mut self, door: Door, wakes: &mut Wakes) {
        self.door = door;
        for waker in self.seats.wakers() {
            wakes.extend(waker.take());
        }
    }

    /// What may be charged follows the pace, if there is a target delay.
    fn resize(&mut self) {
        if let Some(span) = &mut self.span {
            if let Some(capacity) = span.follow(self.pace.windows(), self.pace.service()) {
                self.capacity = capacity;
            }
        }
    }
}
