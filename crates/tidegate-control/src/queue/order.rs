//! Who is next: a bounded queue of criticality classes, first come first served inside a class.
//!
//! Entries live in one slab; each class is a doubly linked list through it, so a waiter that leaves from the
//! middle costs as little as one that is served. No memory is taken beyond the capacity.

use super::Criticality;

/// Every twentieth turn goes to the lowest class that waits: the 5 % floor that keeps it from starving.
const FLOOR_TURNS: u32 = 20;
/// How many smaller entries may pass one that does not fit (DESIGN rule: at most 8, so that large ones are
/// served too).
const MAX_PASSES: u8 = 8;
/// How many entries are looked at for one that fits, so that a turn costs the same in a long queue.
const LOOK_AHEAD: usize = 16;
const CLASSES: usize = Criticality::ALL.len();
const NONE: u32 = u32::MAX;

/// What waits, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The waiter.
    pub value: T,
    /// Its class.
    pub class: Criticality,
    /// Units it needs at once.
    pub weight: u64,
    /// When it came, in nanoseconds of the caller's clock.
    pub since: u64,
}

/// Where an entry stands; stays valid, and never means another entry, until that entry leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    index: u32,
    generation: u32,
}

/// An entry was taken in.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a displaced entry has to be told that it was"]
pub struct Pushed<T> {
    /// Where it stands.
    pub place: Place,
    /// Who had to leave for it: the newest entry of the lowest class below the newcomer's.
    pub displaced: Option<Entry<T>>,
}

#[derive(Debug)]
struct Node<T> {
    entry: Option<Entry<T>>,
    generation: u32,
    before: u32,
    after: u32,
    passed: u8,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    head: u32,
    tail: u32,
    weight: u64,
}

/// A bounded queue with classes.
///
/// Served strictly by class, except that every twentieth turn belongs to the lowest class that waits. When
/// full, a newcomer displaces the newest entry of the lowest class below its own, or is handed back.
///
/// ```
/// use tidegate_control::queue::{ClassQueue, Criticality, Entry};
///
/// let mut queue = ClassQueue::new(2);
/// let entry = |value, class| Entry { value, class, weight: 1, since: 0 };
/// queue.push(entry("crawler", Criticality::Sheddable)).unwrap();
/// queue.push(entry("visitor", Criticality::Critical)).unwrap();
/// let pushed = queue.push(entry("payment", Criticality::CriticalPlus)).unwrap();
/// assert_eq!(pushed.displaced.unwrap().value, "crawler");
/// assert_eq!(queue.pop(1).unwrap().value, "payment");
/// ```
#[derive(Debug)]
pub struct ClassQueue<T> {
    nodes: Vec<Node<T>>,
    free: u32,
    lines: [Line; CLASSES],
    len: usize,
    capacity: usize,
    turns: u32,
}

impl<T> ClassQueue<T> {
    /// A queue for at most `capacity` entries (more than `u32::MAX - 1` are cut to that). 0 never takes any.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let line = Line { head: NONE, tail: NONE, weight: 0 };
        let capacity = capacity.min(NONE as usize - 1);
        Self { nodes: Vec::new(), free: NONE, lines: [line; CLASSES], len: 0, capacity, turns: 0 }
    }

    /// Entries that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Does nobody wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries that can wait at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Units that the waiting entries need together.
    #[must_use]
    pub fn waiting_weight(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.weight))
    }

    /// Units that a newcomer of `class` would find in front of it: everything of its own class and above.
    #[must_use]
    pub fn ahead_of(&self, class: Criticality) -> u64 {
        self.lines.iter().skip(class.index()).fold(0, |sum, line| sum.saturating_add(line.weight))
    }

    /// Units in front of the entry at `place`, or `None` if it has left. Walks its class.
    #[must_use]
    pub fn ahead(&self, place: Place) -> Option<u64> {
        let class = self.get(place)?.class;
        let mut ahead = self
            .lines
            .iter()
            .skip(class.index() + 1)
            .fold(0, |sum: u64, line| sum.saturating_add(line.weight));
        let mut at = self.node(place.index)?.before;
        while let Some(node) = self.node(at) {
            ahead = ahead.saturating_add(node.entry.as_ref().map_or(0, |entry| entry.weight));
            at = node.before;
        }
        Some(ahead)
    }

    /// The entry at `place`, if it still waits.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<&Entry<T>> {
        self.node(place.index).filter(|node| node.generation == place.generation)?.entry.as_ref()
    }

    /// The waiter at `place`, if it still waits.
    #[must_use]
    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        let node = self.nodes.get_mut(place.index as usize)?;
        if node.generation != place.generation {
            return None;
        }
        node.entry.as_mut().map(|entry| &mut entry.value)
    }

    /// Every waiting entry, highest class first, in the order of arrival inside a class.
    pub fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.lines.iter().rev().flat_map(move |line| {
            let mut at = line.head;
            std::iter::from_fn(move || {
                let node = self.node(at)?;
                at = node.after;
                node.entry.as_ref()
            })
        })
    }

    /// Takes an entry in at the end of its class.
    ///
    /// # Errors
    /// When full of entries of its own class and above: the newcomer itself.
    pub fn push(&mut self, entry: Entry<T>) -> Result<Pushed<T>, Entry<T>> {
        let mut displaced = None;
        if self.len >= self.capacity {
            let below = self.lines.iter().take(entry.class.index()).find(|line| line.head != NONE);
            let Some(tail) = below.map(|line| line.tail) else { return Err(entry) };
            displaced = self.unlink(tail);
        }
        Ok(Pushed { place: self.link(entry), displaced })
    }

    /// The next entry to serve that fits in `room` units.
    ///
    /// If the first in turn does not fit, a smaller one behind it may pass, at most eight times; then nobody
    /// is served until there is room for the first.
    pub fn pop(&mut self, room: u64) -> Option<Entry<T>> {
        let highest = self.lines.iter().rposition(|line| line.head != NONE)?;
        let lowest = self.lines.iter().position(|line| line.head != NONE)?;
        let first_of_highest = self.lines.get(highest)?.head;
        let blocked = self.node(first_of_highest).is_some_and(|node| node.passed > 0);
        let floor_turn = lowest < highest && !blocked && self.turns + 1 >= FLOOR_TURNS;
        let first = if floor_turn { self.lines.get(lowest)?.head } else { first_of_highest };
        let chosen = if self.fits(first, room) { first } else { self.passing(first, highest, room)? };
        self.turns = if floor_turn || lowest == highest { 0 } else { self.turns + 1 };
        self.unlink(chosen)
    }

    /// Takes an entry out, wherever it stands; `None` if it has left already.
    pub fn remove(&mut self, place: Place) -> Option<Entry<T>> {
        self.get(place)?;
        self.unlink(place.index)
    }

    fn node(&self, index: u32) -> Option<&Node<T>> {
        self.nodes.get(index as usize)
    }

    fn fits(&self, index: u32, room: u64) -> bool {
        self.node(index).and_then(|node| node.entry.as_ref()).is_some_and(|entry| entry.weight <= room)
    }

    /// An entry that may pass `first`, which does not fit; counts the pass.
    fn passing(&mut self, first: u32, highest: usize, room: u64) -> Option<u32> {
        if self.node(first)?.passed >= MAX_PASSES {
            return None;
        }
        let mut looked = 0;
        let mut found = None;
        'classes: for line in self.lines.iter().take(highest + 1).rev() {
            let mut at = line.head;
            while let Some(node) = self.node(at) {
                if looked >= LOOK_AHEAD {
                    break 'classes;
                }
                if self.fits(at, room) {
                    found = Some(at);
                    break 'classes;
                }
                looked += 1;
                at = node.after;
            }
        }
        let found = found?;
        if let Some(node) = self.nodes.get_mut(first as usize) {
            node.passed += 1;
        }
        Some(found)
    }

    fn link(&mut self, entry: Entry<T>) -> Place {
        let (class, weight) = (entry.class.index(), entry.weight);
        let tail = self.lines.get(class).map_or(NONE, |line| line.tail);
        let index = self.free;
        let place = if let Some(node) = self.nodes.get_mut(index as usize) {
            self.free = node.after;
            node.entry = Some(entry);
            (node.before, node.after, node.passed) = (tail, NONE, 0);
            Place { index, generation: node.generation }
        } else {
            // The capacity keeps this below NONE.
            let index = u32::try_from(self.nodes.len()).unwrap_or(NONE);
            self.nodes.push(Node { entry: Some(entry), generation: 0, before: tail, after: NONE, passed: 0 });
            Place { index, generation: 0 }
        };
        if let Some(node) = self.nodes.get_mut(tail as usize) {
            node.after = place.index;
        }
        if let Some(line) = self.lines.get_mut(class) {
            if line.head == NONE {
                line.head = place.index;
            }
            line.tail = place.index;
            line.weight = line.weight.saturating_add(weight);
        }
        self.len += 1;
        place
    }

    fn unlink(&mut self, index: u32) -> Option<Entry<T>> {
        let node = self.nodes.get_mut(index as usize)?;
        let entry = node.entry.take()?;
        let (before, after) = (node.before, node.after);
        node.generation = node.generation.wrapping_add(1);
        node.after = self.free;
        self.free = index;
        if let Some(node) = self.nodes.get_mut(before as usize) {
            node.after = after;
        }
        if let Some(node) = self.nodes.get_mut(after as usize) {
            node.before = before;
        }
        if let Some(line) = self.lines.get_mut(entry.class.index()) {
            if line.head == index {
                line.head = after;
            }
            if line.tail == index {
                line.tail = before;
            }
            line.weight = line.weight.saturating_sub(entry.weight);
        }
        self.len -= 1;
        Some(entry)
    }
}
