//! Who is next: a bounded queue of criticality classes, first come first served inside a class.
//!
//! Entries live in one slab; each class is a doubly linked list through it, so a waiter that leaves from the
//! middle costs as little as one that is served. No memory is taken beyond the capacity.

use super::Criticality;
use super::entry::{Entry, Place, Pushed};
use super::first::OnlyFirst;

/// Every twentieth turn goes to the lowest class that waits: the 5 % floor that keeps it from starving.
const FLOOR_TURNS: u32 = 20;
/// How many smaller entries may pass one that does not fit (DESIGN rule: at most 8, so that large ones are
/// served too).
const MAX_PASSES: u8 = 8;
/// How many entries are looked at for one that fits, so that a turn costs the same in a long queue.
const LOOK_AHEAD: usize = 16;
const CLASSES: usize = Criticality::ALL.len();
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Node<T> {
    pub(super) entry: Option<Entry<T>>,
    pub(super) generation: u32,
    /// Means nothing in the first of a line: who is served need not touch the next.
    before: u32,
    pub(super) after: u32,
    passed: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) weight: u64,
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
#[repr(C)] // what every event writes stands together, before what it only reads
pub struct ClassQueue<T> {
    free: u32,
    len: u32,
    /// Lowest class first. With eight bytes before the queue, that of the default class ends a cache line.
    lines: [Line; CLASSES],
    turns: u32,
    /// One bit for each class that waits.
    standing: u8,
    nodes: Vec<Node<T>>,
    capacity: usize,
}

impl<T> ClassQueue<T> {
    /// A queue for at most `capacity` entries (more than `u32::MAX - 1` are cut to that). 0 never takes any.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let line = Line { head: NONE, tail: NONE, weight: 0 };
        let capacity = capacity.min(NONE as usize - 1);
        Self {
            nodes: Vec::new(),
            free: NONE,
            lines: [line; CLASSES],
            standing: 0,
            len: 0,
            capacity,
            turns: 0,
        }
    }

    /// Entries that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
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
    #[inline]
    pub fn ahead_of(&self, class: Criticality) -> u64 {
        if self.standing.is_power_of_two() {
            // The usual case: one class waits.
            let only = self.standing.trailing_zeros() as usize;
            return if only < class.index() { 0 } else { self.lines.get(only).map_or(0, |line| line.weight) };
        }
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
        let head = self.lines.get(class.index())?.head;
        let mut at = place.index();
        while at != head {
            at = self.node(at)?.before;
            let entry = self.node(at).and_then(|node| node.entry.as_ref());
            ahead = ahead.saturating_add(entry.map_or(0, |entry| entry.weight));
        }
        Some(ahead)
    }

    /// The entry at `place`, if it still waits.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<&Entry<T>> {
        self.node(place.index()).filter(|node| node.generation == place.generation())?.entry.as_ref()
    }

    /// The waiter at `place`, if it still waits.
    #[must_use]
    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        let node = self.nodes.get_mut(place.index() as usize)?;
        if node.generation != place.generation() {
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

    /// Takes an entry in at the end of its class, if there is a place for which nobody has to leave. Its waiter is to be
    /// filled in where it stands, which spares moving it there.
    #[inline(always)]
    pub fn push_free(&mut self, class: Criticality, weight: u64, since: u64) -> Option<(Place, &mut T)>
    where
        T: Default,
    {
        if self.len() >= self.capacity {
            return None;
        }
        let (place, node) = self.open(class, weight)?;
        // A free node has no entry: to say that nothing is dropped here spares the new one two moves.
        std::mem::forget(node.entry.replace(Entry { value: T::default(), class, weight, since }));
        Some((place, &mut node.entry.as_mut()?.value))
    }

    /// Takes an entry in at the end of its class.
    ///
    /// # Errors
    /// When full of entries of its own class and above: the newcomer itself.
    pub fn push(&mut self, entry: Entry<T>) -> Result<Pushed<T>, Entry<T>> {
        if self.len() >= self.capacity {
            let below = self.lines.iter().take(entry.class.index()).find(|line| line.head != NONE);
            let Some(tail) = below.map(|line| line.tail) else { return Err(entry) };
            let displaced = self.unlink(tail);
            return Ok(Pushed { place: self.link(entry), displaced });
        }
        Ok(Pushed { place: self.link(entry), displaced: None })
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

    /// The first in turn, where one class waits and there is nothing to choose: the one that [`pop`](Self::pop) with room for
    /// it would serve.
    #[inline(always)]
    pub fn only_first(&mut self) -> Option<OnlyFirst<'_, T>> {
        if !self.standing.is_power_of_two() {
            return None;
        }
        let line = self.lines.get_mut(self.standing.trailing_zeros() as usize)?;
        let node = self.nodes.get_mut(line.head as usize)?;
        let Self { free, len, turns, standing, .. } = self;
        Some(OnlyFirst { node, line, free, len, turns, standing })
    }

    /// Takes an entry out, wherever it stands; `None` if it has left already.
    pub fn remove(&mut self, place: Place) -> Option<Entry<T>> {
        self.get(place)?;
        self.unlink(place.index())
    }

    /// Changes every waiter, in no order.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(&mut T)) {
        self.nodes
            .iter_mut()
            .filter_map(|node| node.entry.as_mut())
            .for_each(|entry| change(&mut entry.value));
    }

    /// Visits the entries of each class in the order of arrival, until `visit` is false of one.
    pub fn visit_first(&mut self, mut visit: impl FnMut(&mut Entry<T>) -> bool) {
        for line in &self.lines {
            let mut at = line.head;
            while let Some(node) = self.nodes.get_mut(at as usize) {
                at = node.after;
                if !node.entry.as_mut().is_some_and(&mut visit) {
                    break;
                }
            }
        }
    }

    /// Takes out every entry whose waiter `leaves`, the highest class first, by arrival inside a class.
    pub fn take_all(&mut self, leaves: impl Fn(&T) -> bool) -> Vec<Entry<T>> {
        let mut leaving = Vec::new();
        for line in self.lines.iter().rev() {
            let mut at = line.head;
            while let Some(node) = self.node(at) {
                if node.entry.as_ref().is_some_and(|entry| leaves(&entry.value)) {
                    leaving.push(at);
                }
                at = node.after;
            }
        }
        leaving.into_iter().filter_map(|index| self.unlink(index)).collect()
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
        match self.open(entry.class, entry.weight) {
            Some((place, node)) => {
                node.entry = Some(entry);
                place
            }
            // There is such a node.
            None => Place::new(NONE, 0),
        }
    }

    /// A node at the end of the line of `class`, for an entry of this weight.
    #[inline(always)]
    fn open(&mut self, class: Criticality, weight: u64) -> Option<(Place, &mut Node<T>)> {
        let mut index = self.free;
        if index == NONE {
            // The capacity keeps this below NONE.
            index = u32::try_from(self.nodes.len()).unwrap_or(NONE);
            self.add_node();
        }
        let line = self.lines.get_mut(class.index())?;
        match self.nodes.get_mut(line.tail as usize) {
            Some(node) => node.after = index,
            None => line.head = index,
        }
        let node = self.nodes.get_mut(index as usize)?;
        self.free = node.after;
        (node.before, node.after, node.passed) = (line.tail, NONE, 0);
        line.tail = index;
        line.weight = line.weight.saturating_add(weight);
        let standing = self.standing | 1 << class.index();
        if self.standing != standing {
            self.standing = standing;
        }
        self.len += 1;
        Some((Place::new(index, node.generation), node))
    }

    /// One more node, free and the last of the free ones.
    #[cold]
    fn add_node(&mut self) {
        self.nodes.push(Node { entry: None, generation: 0, before: NONE, after: NONE, passed: 0 });
    }

    fn unlink(&mut self, index: u32) -> Option<Entry<T>> {
        let node = self.nodes.get_mut(index as usize)?;
        let entry = node.entry.take()?;
        let is_first = self.lines.get(entry.class.index()).is_some_and(|line| line.head == index);
        let (before, after) = (if is_first { NONE } else { node.before }, node.after);
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
            if is_first {
                line.head = after;
            }
            if line.tail == index {
                line.tail = before;
            }
            line.weight = line.weight.saturating_sub(entry.weight);
            if line.head == NONE {
                self.standing &= !(1 << entry.class.index());
            }
        }
        self.len -= 1;
        Some(entry)
    }
}
