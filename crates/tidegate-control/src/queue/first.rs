//! The first of a queue in which there is nothing to choose, served where it stands.

use super::entry::Entry;
use super::order::{Line, NONE, Node};

/// The first in a queue that has nothing to choose. It stays there unless it is served; then it leaves where it stands,
/// which spares moving it, and whoever serves takes what is still wanted of it.
#[derive(Debug)]
pub struct OnlyFirst<'a, T> {
    pub(super) node: &'a mut Node<T>,
    pub(super) line: &'a mut Line,
    pub(super) free: &'a mut u32,
    pub(super) len: &'a mut u32,
    pub(super) turns: &'a mut u32,
    pub(super) standing: &'a mut u8,
}

impl<T> OnlyFirst<'_, T> {
    /// What stands there.
    #[inline(always)]
    pub fn entry(&mut self) -> Option<&mut Entry<T>> {
        self.node.entry.as_mut()
    }

    /// Serves it. What its waiter still owns is dropped.
    #[inline(always)]
    pub fn serve(mut self) {
        self.unlink();
        self.node.entry = None;
    }

    /// Serves a waiter that owns nothing any more, which spares looking for what there is to drop: that would be lost.
    #[inline(always)]
    pub fn serve_emptied(mut self) {
        self.unlink();
        std::mem::forget(self.node.entry.take());
    }

    #[inline(always)]
    fn unlink(&mut self) {
        let weight = self.node.entry.as_ref().map_or(0, |entry| entry.weight);
        let (head, after) = (self.line.head, self.node.after);
        self.node.generation = self.node.generation.wrapping_add(1);
        self.node.after = std::mem::replace(self.free, head);
        self.line.head = after;
        self.line.weight = self.line.weight.saturating_sub(weight);
        if after == NONE {
            self.line.tail = NONE;
            *self.standing = 0;
        }
        // Others read what stands beside it: it is not written for nothing.
        if *self.turns != 0 {
            *self.turns = 0;
        }
        *self.len -= 1;
    }
}
