//! What stands in a queue, and where.

use super::Criticality;

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
    /// The index of the node, and above it the generation: one word, because it is copied about.
    bits: u64,
}

impl Place {
    #[inline]
    pub(super) const fn new(index: u32, generation: u32) -> Self {
        Self { bits: (generation as u64) << 32 | index as u64 }
    }

    #[inline]
    pub(super) const fn index(self) -> u32 {
        self.bits as u32
    }

    #[inline]
    pub(super) const fn generation(self) -> u32 {
        (self.bits >> 32) as u32
    }
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
