//! Who holds the bytes: one account for each tag, exact and without a list of what is held.
//!
//! Bytes × age is linear: Σ bytes·(now − since) = now·Σ bytes − Σ bytes·since. Two sums for each tag are enough.

use std::sync::Arc;

use super::outlet::Sum;

/// Tags kept at once; further ones are counted with the untagged. Tens of tenants tell who holds the bytes, and a table
/// of them is a few kilobytes.
const MOST_TAGS: usize = 64;

/// The account of those that gave no tag.
pub(super) const UNTAGGED: u32 = 0;

#[derive(Debug)]
pub(super) struct Tags {
    list: Vec<Tag>,
}

#[derive(Debug, Default)]
struct Tag {
    name: Arc<str>,
    senders: usize,
    items: usize,
    bytes: u64,
    /// Σ bytes·since.
    moment: u128,
}

impl Tag {
    fn is_free(&self) -> bool {
        self.senders == 0 && self.items == 0 && self.bytes == 0
    }
}

/// What one tag holds.
pub(super) struct Held {
    pub(super) name: Arc<str>,
    pub(super) items: usize,
    pub(super) bytes: u64,
    /// Σ bytes·age, in byte-nanoseconds.
    pub(super) burden: u128,
}

impl Tags {
    pub(super) fn new() -> Self {
        Self { list: vec![Tag::default()] }
    }

    /// One more sender under `name`; its account.
    pub(super) fn open(&mut self, name: &str) -> u32 {
        let known = self.list.iter().skip(1).position(|tag| *tag.name == *name && !tag.is_free());
        let at = match known {
            Some(at) => at + 1,
            None => match self.vacancy() {
                Some(at) => at,
                None => UNTAGGED as usize,
            },
        };
        let Some(tag) = self.list.get_mut(at) else { return UNTAGGED };
        if at != UNTAGGED as usize && tag.is_free() {
            *tag = Tag { name: name.into(), ..Tag::default() };
        }
        tag.senders += 1;
        u32::try_from(at).unwrap_or(UNTAGGED)
    }

    fn vacancy(&mut self) -> Option<usize> {
        if let Some(at) = self.list.iter().skip(1).position(Tag::is_free) {
            return Some(at + 1);
        }
        if self.list.len() > MOST_TAGS {
            return None;
        }
        self.list.push(Tag::default());
        Some(self.list.len() - 1)
    }

    /// One more sender on an account that has some.
    pub(super) fn join(&mut self, tag: u32) {
        if let Some(tag) = self.list.get_mut(tag as usize) {
            tag.senders += 1;
        }
    }

    /// A sender is gone.
    pub(super) fn leave(&mut self, tag: u32) {
        if let Some(tag) = self.list.get_mut(tag as usize) {
            tag.senders = tag.senders.saturating_sub(1);
        }
    }

    #[inline]
    pub(super) fn charge(&mut self, tag: u32, bytes: u64, items: usize, since: u64) {
        if let Some(tag) = self.list.get_mut(tag as usize) {
            tag.items += items;
            tag.bytes = tag.bytes.wrapping_add(bytes);
            tag.moment = tag.moment.wrapping_add(u128::from(bytes) * u128::from(since));
        }
    }

    /// The exact reverse of [`charge`](Self::charge), in whatever parts.
    pub(super) fn release(&mut self, tag: u32, bytes: u64, items: usize, since: u64) {
        if let Some(tag) = self.list.get_mut(tag as usize) {
            tag.items = tag.items.saturating_sub(items);
            tag.bytes = tag.bytes.wrapping_sub(bytes);
            tag.moment = tag.moment.wrapping_sub(u128::from(bytes) * u128::from(since));
        }
    }

    /// The reverse of many [charges](Self::charge).
    pub(super) fn release_sum(&mut self, tag: usize, sum: Sum) {
        if let Some(tag) = self.list.get_mut(tag) {
            tag.items = tag.items.saturating_sub(sum.freed.items);
            tag.bytes = tag.bytes.wrapping_sub(sum.freed.bytes);
            tag.moment = tag.moment.wrapping_sub(sum.moment);
        }
    }

    /// The `most` heaviest by bytes × age, heaviest first.
    pub(super) fn heaviest(&self, most: usize, now: u64) -> Vec<Held> {
        let burden = |tag: &Tag| (u128::from(tag.bytes) * u128::from(now)).saturating_sub(tag.moment);
        let held = self.list.iter().filter(|tag| tag.items > 0 || tag.bytes > 0);
        let mut held: Vec<_> = held
            .map(|tag| Held {
                name: tag.name.clone(),
                items: tag.items,
                bytes: tag.bytes,
                burden: burden(tag),
            })
            .collect();
        held.sort_by_key(|held| std::cmp::Reverse((held.burden, held.bytes)));
        held.truncate(most);
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_exact_and_is_given_away_when_nobody_needs_it() {
        let mut tags = Tags::new();
        let tag = tags.open("a");
        assert_eq!(tags.open("a"), tag);
        tags.charge(tag, 100, 1, 10);
        tags.charge(UNTAGGED, 10, 1, 20);
        tags.leave(tag);
        tags.leave(tag);
        let held = tags.heaviest(8, 30);
        assert_eq!(
            held.iter().map(|held| (&*held.name, held.bytes, held.burden)).collect::<Vec<_>>(),
            [("a", 100, 2000), ("", 10, 100)]
        );
        // Released in two parts.
        tags.release(tag, 60, 0, 10);
        assert_eq!(tags.heaviest(1, 30).first().unwrap().burden, 800);
        tags.release(tag, 40, 1, 10);
        assert_eq!(tags.open("b"), tag, "its account is free");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut tags = Tags::new();
        let given: Vec<_> = (0..200).map(|tag| tags.open(&tag.to_string())).collect();
        assert_eq!(given.iter().filter(|tag| **tag != UNTAGGED).count(), MOST_TAGS);
        assert!(tags.list.len() <= MOST_TAGS + 1);
    }
}
