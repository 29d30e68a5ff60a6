//! One account of [`Grants`](super::Grants): the bytes on the way between two stages, and who waits for some.

use std::collections::{BTreeMap, BTreeSet};

/// What an account may hold; the bytes on the way out of one stage and into the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Bytes that are its own, whatever the other accounts hold.
    pub reserve: u64,
    /// Bytes that it holds at most, its reserve among them.
    pub most: u64,
    /// Items that it holds at most.
    pub items: u64,
    /// Do its turns end in order? Those that are not the next to end may not use the reserve.
    pub ordered: bool,
}

impl Account {
    /// An account with a reserve and a bound (at least the reserve), without an order, of any number of items.
    #[must_use]
    pub fn new(reserve: u64, most: u64) -> Self {
        Self { reserve, most: most.max(reserve), items: u64::MAX, ordered: false }
    }

    /// Of at most so many items at a time (at least one). Not for an ordered account: those behind could take the
    /// place of the one in front of them.
    #[must_use]
    pub fn items(self, items: u64) -> Self {
        Self { items: items.max(1), ..self }
    }

    /// Its turns, numbered from 0 without gaps, end in that order.
    #[must_use]
    pub fn ordered(self) -> Self {
        Self { ordered: true, ..self }
    }
}

/// Why a demand is not met now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocked {
    /// The account is full, in bytes or items: whoever takes from it is slower.
    Output,
    /// The account has room, what is common to all has none.
    Budget,
}

/// A waiting demand.
#[derive(Clone, Debug)]
pub(super) struct Demand<T> {
    pub(super) bytes: u64,
    pub(super) value: T,
}

/// What an account holds, and who waits.
#[derive(Clone, Debug)]
pub(super) struct Held<T> {
    pub(super) plan: Account,
    /// Bytes that may stand on the reserve.
    pub(super) front: u64,
    /// Bytes of turns that are not next to end.
    pub(super) behind: u64,
    pub(super) items: u64,
    /// The turn that is next to end.
    pub(super) head: u64,
    /// Turns that ended before theirs was next.
    ended: BTreeSet<u64>,
    /// Whose the bytes behind are.
    owners: BTreeMap<u64, u64>,
    /// By turn, then by arrival.
    pub(super) waiting: BTreeMap<(u64, u64), Demand<T>>,
}

impl<T> Held<T> {
    pub(super) fn new(plan: Account) -> Self {
        Self {
            plan,
            front: 0,
            behind: 0,
            items: 0,
            head: 0,
            ended: BTreeSet::new(),
            owners: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.front.saturating_add(self.behind)
    }

    fn is_behind(&self, turn: u64) -> bool {
        self.plan.ordered && turn > self.head
    }

    /// What it holds of the common bytes.
    pub(super) fn common(&self) -> u64 {
        self.behind.saturating_add(self.front.saturating_sub(self.plan.reserve))
    }

    /// What it would hold of the common bytes with `bytes` more.
    fn common_with(&self, turn: u64, bytes: u64) -> u64 {
        if self.is_behind(turn) {
            self.common().saturating_add(bytes)
        } else {
            let front = self.front.saturating_add(bytes);
            self.behind.saturating_add(front.saturating_sub(self.plan.reserve))
        }
    }

    /// The common bytes that it would take, or `None` if it is full.
    pub(super) fn price(&self, turn: u64, bytes: u64) -> Option<u64> {
        let common = self.common_with(turn, bytes);
        let room = self.items < self.plan.items && common <= self.plan.most - self.plan.reserve;
        room.then(|| common - self.common())
    }

    pub(super) fn put(&mut self, turn: u64, bytes: u64) {
        self.items += 1;
        if self.is_behind(turn) {
            self.behind = self.behind.saturating_add(bytes);
            let owned = self.owners.entry(turn).or_default();
            *owned = owned.saturating_add(bytes);
        } else {
            self.front = self.front.saturating_add(bytes);
        }
    }

    pub(super) fn take(&mut self, turn: u64, bytes: u64) {
        if self.is_behind(turn) {
            self.behind = self.behind.saturating_sub(bytes);
            if let Some(owned) = self.owners.get_mut(&turn) {
                *owned = owned.saturating_sub(bytes);
                if *owned == 0 {
                    self.owners.remove(&turn);
                }
            }
        } else {
            self.front = self.front.saturating_sub(bytes);
        }
    }

    /// A turn ends; what the next in turn holds may stand on the reserve from now on.
    pub(super) fn end(&mut self, turn: u64) {
        if !self.plan.ordered || turn < self.head {
            return;
        }
        if turn > self.head {
            self.ended.insert(turn);
            return;
        }
        loop {
            self.head += 1;
            if let Some(bytes) = self.owners.remove(&self.head) {
                self.behind = self.behind.saturating_sub(bytes);
                self.front = self.front.saturating_add(bytes);
            }
            if !self.ended.remove(&self.head) {
                return;
            }
        }
    }
}
