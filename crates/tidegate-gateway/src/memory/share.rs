//! [`Shares`]: who may have another floor, who is next, and who makes room when too many are parked. Pure.
//!
//! The law. Of `n` parties each has a share of an `n`th, and of two floors at least. While less than half is used
//! everybody gets a floor. Beyond that only whoever stays within its share does; one that is alone has all of it, so
//! that nothing lies idle for nobody. What comes free goes to the one that holds least among those that wait: max-min
//! fairness (Bertsekas and Gallager, *Data Networks*, §6.5.2), reached as floors come back, since nothing is taken away.
//!
//! Whoever would have no more than its share if one more party came, and finds all of it held by those who came before, has
//! what is **kept** for such: a floor, and as much as it leaves to others (Choudhury and Hahne, *Dynamic Queue Length
//! Thresholds for Shared-Memory Packet Switches*, 1998, with α = 1), so that the first newcomer does not take it all.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::party::{Held, Party};

/// A share in floors, at least: a browser opens some connections at a time.
const LEAST: u64 = 2;

/// The parties, and those of their connections that are parked.
#[derive(Debug)]
pub(super) struct Shares<T> {
    parties: HashMap<Party, Present>,
    /// Those that wait, of each party; none is empty.
    lines: HashMap<Party, VecDeque<(u64, T)>>,
    parked: usize,
    places: usize,
    turns: u64,
}

#[derive(Debug, Default)]
struct Present {
    held: Arc<Held>,
    connections: u64,
}

/// What is there at this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Bytes of a floor.
    pub(super) floor: u64,
    /// Bytes that floors may take together, which parties share.
    pub(super) whole: u64,
    /// Is less than half of all bytes used, with one more floor?
    pub(super) half_free: bool,
    /// Does one more floor fit?
    pub(super) fits: bool,
    /// Bytes left of those that are kept.
    pub(super) kept: u64,
}

/// Where a floor is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Common,
    Kept,
}

/// What a party has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) party: Party,
    pub(super) bytes: u64,
    pub(super) connections: u64,
    pub(super) parked: usize,
}

impl<T> Shares<T> {
    pub(super) fn new(places: usize) -> Self {
        Self { parties: HashMap::new(), lines: HashMap::new(), parked: 0, places, turns: 0 }
    }

    pub(super) fn parties(&self) -> usize {
        self.parties.len()
    }

    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Is there a place, or could one be made?
    pub(super) fn has_place(&self) -> bool {
        self.parked < self.places || self.lines.keys().any(|party| !party.is_proxy())
    }

    /// One more connection; its turn. If it cannot be let in, [`overflow`](Self::overflow) may be due.
    pub(super) fn arrive(&mut self, party: Party, item: T) -> u64 {
        let turn = self.turns;
        self.turns += 1;
        self.parties.entry(party).or_default();
        self.lines.entry(party).or_default().push_back((turn, item));
        self.parked += 1;
        turn
    }

    /// Does a party wait that would stay within its share?
    pub(super) fn is_any_owed(&self, now: &Now) -> bool {
        let law = now.law(self.parties.len() as u64);
        self.lines.keys().any(|party| {
            let held = self.parties.get(party).map(|present| &present.held);
            held.is_some_and(|held| law.is_within(party, held, now.floor))
        })
    }

    /// More are parked than there are places: out goes the newest of the party that has parked most; among equals of the one
    /// that holds most, or came last. Trusted proxies stay, if there is anybody else. `full`: there is no permit for another
    /// connection, so one place is too many, unless it is the only one.
    pub(super) fn overflow(&mut self, full: bool) -> Option<T> {
        let most = if full { self.places.min(self.parked.saturating_sub(1)).max(1) } else { self.places };
        if self.parked <= most {
            return None;
        }
        let size = |(party, line): (&Party, &VecDeque<(u64, T)>)| {
            let held = self.parties.get(party).map_or(0, |present| present.held.bytes());
            ((!party.is_proxy(), line.len(), held, line.back().map(|(turn, _)| *turn)), *party)
        };
        let (_, largest) = self.lines.iter().map(size).max_by_key(|(size, _)| *size)?;
        let (_, item) = self.lines.get_mut(&largest)?.pop_back()?;
        self.parked -= 1;
        self.tidy(&largest);
        Some(item)
    }

    /// Who is given the next floor, and of what; nobody, if none may have it now.
    pub(super) fn next(&self, now: &Now) -> Option<(Party, Source)> {
        let candidates = self.lines.iter().filter_map(|(party, line)| {
            let held = &self.parties.get(party)?.held;
            let source = now.source(party, held, self.parties.len() as u64)?;
            let rank = if party.is_proxy() { 0 } else { held.bytes() };
            Some(((rank, line.front()?.0), (*party, source)))
        });
        candidates.min_by_key(|(rank, _)| *rank).map(|(_, next)| next)
    }

    /// The first that waits of this party is let in with a floor of so many bytes, and is one of its connections until
    /// [`leave`](Self::leave). The floor counts at once: whoever is [next](Self::next) is found with it.
    pub(super) fn let_in(&mut self, party: &Party, floor: u64, source: Source) -> Option<(T, Arc<Held>)> {
        let present = self.parties.get_mut(party)?;
        let held = Arc::clone(&present.held);
        let line = self.lines.get_mut(party)?;
        let (_, item) = line.pop_front()?;
        present.connections += 1;
        held.add(floor, if source == Source::Kept { floor } else { 0 });
        self.parked -= 1;
        self.tidy(party);
        Some((item, held))
    }

    /// A connection that was let in has ended.
    pub(super) fn leave(&mut self, party: &Party) {
        if let Some(present) = self.parties.get_mut(party) {
            present.connections = present.connections.saturating_sub(1);
        }
        self.tidy(party);
    }

    /// The parked connection with this turn has gone; `None` if it is not parked any more.
    pub(super) fn give_up(&mut self, party: &Party, turn: u64) -> Option<T> {
        let line = self.lines.get_mut(party)?;
        // Turns only grow along a line.
        let at = line.binary_search_by_key(&turn, |(turn, _)| *turn).ok()?;
        let (_, item) = line.remove(at)?;
        self.parked -= 1;
        self.tidy(party);
        Some(item)
    }

    /// Nobody is parked any more.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.parked = 0;
        let lines = std::mem::take(&mut self.lines);
        self.parties.retain(|_, present| present.connections > 0);
        lines.into_values().flatten().map(|(_, item)| item).collect()
    }

    /// Every party and what it has.
    pub(super) fn standings(&self) -> Vec<Standing> {
        (self.parties.iter())
            .map(|(party, present)| Standing {
                party: *party,
                bytes: present.held.bytes(),
                connections: present.connections,
                parked: self.lines.get(party).map_or(0, VecDeque::len),
            })
            .collect()
    }

    /// Forgets what is empty.
    fn tidy(&mut self, party: &Party) {
        if self.lines.get(party).is_some_and(VecDeque::is_empty) {
            self.lines.remove(party);
        }
        if let Entry::Occupied(present) = self.parties.entry(*party) {
            if present.get().connections == 0 && !self.lines.contains_key(party) {
                present.remove();
            }
        }
    }
}

impl Now {
    fn law(&self, parties: u64) -> Law {
        Law { floor: self.floor, whole: self.whole, parties }
    }

    /// What a floor for a party is taken from, if it may have one.
    fn source(&self, party: &Party, held: &Held, parties: u64) -> Option<Source> {
        let law = self.law(parties);
        if self.fits && (self.half_free || law.is_within(party, held, self.floor)) {
            return Some(Source::Common);
        }
        law.may_have_kept(party, held, self.floor, self.kept).then_some(Source::Kept)
    }
}

/// What the shares follow from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law {
    pub(super) floor: u64,
    pub(super) whole: u64,
    pub(super) parties: u64,
}

impl Law {
    /// Would it stay within its share with `bytes` more?
    pub(super) fn is_within(&self, party: &Party, held: &Held, bytes: u64) -> bool {
        self.is_within_one_of(self.parties, party, held, bytes)
    }

    /// May it have `bytes` of what is kept, of which so much is left?
    pub(super) fn may_have_kept(&self, party: &Party, held: &Held, bytes: u64, left: u64) -> bool {
        let has = held.kept().saturating_add(bytes);
        let leaves = left.checked_sub(bytes).is_some_and(|rest| has <= rest.max(self.floor));
        leaves && self.is_within_one_of(self.parties + 1, party, held, bytes)
    }

    // Who is alone is in nobody's way, and whoever has nothing may always have something.
    fn is_within_one_of(&self, parties: u64, party: &Party, held: &Held, bytes: u64) -> bool {
        let share = (self.whole / parties.max(1)).max(LEAST * self.floor);
        parties <= 1 || party.is_proxy() || held.bytes() == 0 || held.bytes().saturating_add(bytes) <= share
    }
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
