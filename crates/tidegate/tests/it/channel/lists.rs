//! The naive model of a channel: some lists, some sums.

use super::Bag;

/// As the issue has it.
const MAY_PASS: usize = 8;
/// How far the line is looked through for one that may.
const LOOK: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Policy {
    Wait,
    Refuse,
    DropNewest,
    DropOldest,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) bytes: u64,
    pub(super) items: usize,
    pub(super) places: usize,
    pub(super) alone: bool,
    pub(super) policy: Policy,
    pub(super) queue: Vec<Bag>,
    /// Reserved and leased: bytes and items.
    pub(super) held: (u64, usize),
    /// Who waits, how heavy; and how many passed the first.
    pub(super) line: Vec<(u32, u64)>,
    pub(super) passed: usize,
    pub(super) granted: Vec<(u32, u64)>,
}

impl Model {
    pub(super) fn charged(&self) -> (u64, usize) {
        let queued: u64 = self.queue.iter().map(|bag| bag.1).sum();
        let granted: u64 = self.granted.iter().map(|it| it.1).sum();
        (self.held.0 + queued + granted, self.held.1 + self.queue.len() + self.granted.len())
    }

    pub(super) fn fits(&self, weight: u64) -> bool {
        let (bytes, items) = self.charged();
        items < self.items && (bytes + weight <= self.bytes || bytes == 0)
    }

    pub(super) fn oversize(&self, weight: u64) -> bool {
        weight > self.bytes && !self.alone
    }

    /// For one that comes now. What is larger than the channel comes in when nothing at all is there.
    pub(super) fn has_room(&self, weight: u64) -> bool {
        let (bytes, items) = self.charged();
        let fits = bytes + weight <= self.bytes && items < self.items;
        self.line.is_empty() && (fits || (bytes, items) == (0, 0))
    }

    pub(super) fn serve(&mut self) {
        while let Some(&(_, first)) = self.line.first() {
            let next = if self.fits(first) {
                0
            } else if self.passed < MAY_PASS && self.items > self.charged().1 {
                let Some(next) = self.line.iter().take(LOOK).position(|it| self.fits(it.1)) else { return };
                self.passed += 1;
                next
            } else {
                return;
            };
            if next == 0 {
                self.passed = 0;
            }
            let next = self.line.remove(next);
            self.granted.push(next);
        }
    }

    pub(super) fn leave(&mut self, who: u32) {
        if self.line.first().is_some_and(|it| it.0 == who) {
            self.passed = 0;
        }
        self.line.retain(|it| it.0 != who);
        self.granted.retain(|it| it.0 != who);
        self.serve();
    }

    /// The oldest that have to leave for one of this weight; `None` if it does not help.
    pub(super) fn displace(&mut self, weight: u64) -> Option<Vec<Bag>> {
        for leaving in 0..=self.queue.len() {
            let gone: u64 = self.queue.iter().take(leaving).map(|bag| bag.1).sum();
            let (bytes, items) = self.charged();
            let room = if self.line.is_empty() { self.bytes.saturating_sub(bytes) } else { 0 };
            let places = if self.line.is_empty() { self.items.saturating_sub(items) } else { 0 };
            let all = self.line.is_empty() && (bytes - gone, items - leaving) == (0, 0);
            if room + gone >= weight && places + leaving > 0 || all {
                return Some(self.queue.drain(..leaving).collect());
            }
        }
        None
    }
}
