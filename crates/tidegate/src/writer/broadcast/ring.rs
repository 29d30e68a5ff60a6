//! The items, and who is how far behind. Decides; locks nothing, wakes nobody, and drops no item and no waker: it hands out
//! what is to be dropped.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use super::cut::Cut;
use super::ledger::{Ledger, Listener, Snapshot};
use super::policy::{Late, Terms};
use super::seat::Seat;

#[derive(Debug)]
struct Entry<T> {
    item: T,
    /// The weights of all items before it, since the beginning.
    before: u64,
    /// Seats that have not taken it. No fewer than of the entry before: so those that nobody wants are at the front.
    readers: u64,
}

/// What is to be done when the lock is released.
#[derive(Debug)]
pub(super) struct Aftermath<T> {
    pub(super) wake: Vec<Waker>,
    pub(super) items: Vec<T>,
    /// Missed the oldest; and were disconnected.
    pub(super) skipped: u64,
    pub(super) disconnected: u64,
}

impl<T> Default for Aftermath<T> {
    fn default() -> Self {
        Self { wake: Vec::new(), items: Vec::new(), skipped: 0, disconnected: 0 }
    }
}

/// What a subscriber gets.
#[derive(Debug)]
pub(super) enum Taken<T> {
    Item(T),
    Gap(u64),
    Cut(Cut),
    End,
    /// Not now.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Ring<T> {
    entries: VecDeque<Entry<T>>,
    /// The number of the first entry.
    first: u64,
    /// The weights of all items since the beginning.
    sum: u64,
    seats: BTreeMap<u64, Seat>,
    next_seat: u64,
    gone: Ledger,
    /// No more comes: in order, or not.
    end: Option<Result<(), Cut>>,
}

impl<T: Clone> Ring<T> {
    pub(super) const fn new() -> Self {
        let gone = Ledger { offered: 0, delivered: 0, skipped: 0 };
        Self {
            entries: VecDeque::new(),
            first: 0,
            sum: 0,
            seats: BTreeMap::new(),
            next_seat: 0,
            gone,
            end: None,
        }
    }

    /// Published in all.
    fn published(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry<T>> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Items and bytes behind.
    fn behind(&self, next: u64) -> (u64, u64) {
        let at = usize::try_from(next.saturating_sub(self.first)).ok();
        let bytes = at.and_then(|at| self.entries.get(at)).map_or(0, |entry| self.sum - entry.before);
        (self.published().saturating_sub(next), bytes)
    }

    pub(super) fn seats(&self) -> usize {
        self.seats.len()
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn sit(&mut self, terms: Terms) -> u64 {
        let (number, next) = (self.next_seat, self.published());
        self.next_seat += 1;
        self.seats.insert(number, Seat::new(terms, next));
        number
    }

    /// A subscriber goes; what it was behind is skipped.
    pub(super) fn leave(&mut self, number: u64, after: &mut Aftermath<T>) -> Ledger {
        let Some(mut seat) = self.seats.remove(&number) else { return Ledger::default() };
        if seat.cut.is_none() {
            self.skip(&mut seat, u64::MAX, after);
        }
        self.gone.add(seat.ledger);
        after.wake.extend(seat.waker); // it is dropped there, and being woken does no harm
        seat.ledger
    }

    /// `seat` misses the oldest `count` of what it is behind.
    fn skip(&mut self, seat: &mut Seat, count: u64, after: &mut Aftermath<T>) {
        let count = count.min(self.published() - seat.next);
        for number in seat.next..seat.next + count {
            if let Some(entry) = self.entry(number) {
                entry.readers = entry.readers.saturating_sub(1);
            }
        }
        seat.next += count;
        seat.gap += count;
        seat.ledger.skipped += count;
        self.free(&mut after.items);
    }

    /// Items that nobody wants any more.
    fn free(&mut self, items: &mut Vec<T>) {
        while self.entries.front().is_some_and(|entry| entry.readers == 0) {
            items.extend(self.entries.pop_front().map(|entry| entry.item));
            self.first += 1;
        }
    }

    /// Publishes `item`. Whom the publisher has to wait for, and how long, goes to `awaited`.
    pub(super) fn push(
        &mut self,
        item: T,
        weight: u64,
        after: &mut Aftermath<T>,
        awaited: &mut Vec<(u64, Duration)>,
    ) -> u64 {
        let before = self.sum;
        self.sum = self.sum.saturating_add(weight);
        let readers = self.seats.values().filter(|seat| seat.cut.is_none()).count() as u64;
        self.entries.push_back(Entry { item, before, readers });
        let mut seats = std::mem::take(&mut self.seats);
        for (number, seat) in seats.iter_mut().filter(|(_, seat)| seat.cut.is_none()) {
            seat.ledger.offered += 1;
            after.wake.extend(seat.waker.take());
            if seat.may_be_behind(self.behind(seat.next)) {
                continue;
            }
            match seat.terms.policy.patience() {
                Some(patience) if !seat.late && !patience.is_zero() => awaited.push((*number, patience)),
                _ => self.enforce(seat, after),
            }
        }
        self.seats = seats;
        self.free(&mut after.items);
        readers
    }

    /// Brings a seat within its bounds, or cuts it off.
    fn enforce(&mut self, seat: &mut Seat, after: &mut Aftermath<T>) {
        match seat.terms.policy.at_last() {
            Late::DropOldest => {
                let mut count = 0;
                while !seat.may_be_behind(self.behind(seat.next + count)) {
                    count += 1;
                }
                self.skip(seat, count, after);
                after.skipped += count;
            }
            Late::Disconnect => {
                let (items, bytes) = self.behind(seat.next);
                self.skip(seat, items, after);
                seat.cut = Some(Cut::Behind { items, bytes });
                after.disconnected += 1;
                after.wake.extend(seat.waker.take());
            }
        }
    }

    /// Has this seat, which is waited for, caught up or gone?
    pub(super) fn is_within(&self, number: u64) -> bool {
        self.seats.get(&number).is_none_or(|seat| seat.may_be_behind(self.behind(seat.next)))
    }

    /// It was waited for in vain.
    pub(super) fn give_up(&mut self, number: u64, after: &mut Aftermath<T>) {
        let Some(mut seat) = self.seats.remove(&number) else { return };
        if seat.cut.is_none() && !seat.may_be_behind(self.behind(seat.next)) {
            seat.late = true;
            self.enforce(&mut seat, after);
        }
        self.seats.insert(number, seat);
    }

    /// What a subscriber gets next.
    pub(super) fn take(&mut self, number: u64) -> Taken<T> {
        let Some(seat) = self.seats.get_mut(&number) else { return Taken::End };
        if let Some(cut) = seat.cut {
            return Taken::Cut(cut);
        }
        if seat.gap > 0 {
            return Taken::Gap(std::mem::take(&mut seat.gap));
        }
        let next = seat.next;
        let Some(item) = self.take_item(next) else {
            return match self.end {
                None => Taken::Nothing,
                Some(Ok(())) => Taken::End,
                Some(Err(cut)) => Taken::Cut(cut),
            };
        };
        let behind = self.behind(next + 1);
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.next += 1;
            seat.ledger.delivered += 1;
            seat.late &= !seat.has_caught_up(behind);
        }
        Taken::Item(item)
    }

    /// One seat takes an item; the last to want it takes it away.
    fn take_item(&mut self, number: u64) -> Option<T> {
        let entry = self.entry(number)?;
        if entry.readers > 1 {
            entry.readers -= 1;
            return Some(entry.item.clone());
        }
        // Those before it were wanted by no more seats, so they have gone: it is the first.
        self.first += 1;
        self.entries.pop_front().map(|entry| entry.item)
    }

    /// Wakes `waker` when there is something for this seat; gives back the one it had.
    pub(super) fn park(&mut self, number: u64, waker: &Waker) -> Option<Waker> {
        let seat = self.seats.get_mut(&number)?;
        if seat.waker.as_ref().is_some_and(|parked| parked.will_wake(waker)) {
            return None;
        }
        seat.waker.replace(waker.clone())
    }

    /// No more comes.
    pub(super) fn end(&mut self, end: Result<(), Cut>, after: &mut Aftermath<T>) {
        if self.end.is_none() {
            self.end = Some(end);
            after.wake.extend(self.seats.values_mut().filter_map(|seat| seat.waker.take()));
        }
    }

    pub(super) fn ledger(&self, number: u64) -> Ledger {
        self.seats.get(&number).map_or_else(Ledger::default, |seat| seat.ledger)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let listener = |seat: &Seat| {
            let (items, bytes) = if seat.cut.is_some() { (0, 0) } else { self.behind(seat.next) };
            Listener {
                name: seat.terms.name.clone(),
                policy: seat.terms.policy,
                items,
                bytes,
                ledger: seat.ledger,
                late: seat.late,
                disconnected: seat.cut.is_some(),
            }
        };
        let (items, bytes) = self.behind(self.first);
        let listeners = self.seats.values().map(listener).collect();
        Snapshot { published: self.published(), items, bytes, listeners, gone: self.gone }
    }
}
