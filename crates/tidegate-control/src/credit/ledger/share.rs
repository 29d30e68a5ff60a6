//! Who has a share of a node, and how much that is.

use super::id::NodeId;
use super::node::Node;
use super::{Ledger, Short};

/// How long one that asked in vain is reckoned with: long against the pause before it tries again, short for those that
/// could have what it left.
const WANT: u64 = 1_000_000_000;

impl Node {
    /// Would it, with `bytes` more than the `held` ones, have more than its share of `parent`, which is then more than
    /// half full?
    pub(super) fn exceeds_share(&self, parent: &Self, held: u64, bytes: u64, after: u64) -> bool {
        if self.share == 0 || after <= parent.limit - parent.limit / 2 {
            return false;
        }
        let others = if self.counted { 0 } else { u64::from(self.share) };
        let all = u128::from(parent.divided_by + others);
        let fair = u128::from(parent.limit) * u128::from(self.share) / all.max(1);
        u128::from(held) + u128::from(bytes) > fair
    }
}

impl Ledger {
    /// Counts the share of the node at `index` among those that divide its parent.
    pub(super) fn count(&mut self, index: u32) {
        let Some(node) = self.nodes.get_mut(index as usize).filter(|node| !node.counted) else { return };
        node.counted = true;
        let (parent, share) = (node.parent, u64::from(node.share));
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.divided_by += share;
        }
    }

    /// It leaves its share to the others.
    pub(super) fn discount(&mut self, index: u32) {
        let Some(node) = self.nodes.get_mut(index as usize).filter(|node| node.counted) else { return };
        node.counted = false;
        let (parent, share) = (node.parent, u64::from(node.share));
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.divided_by -= share;
        }
    }

    /// `asked` asked in vain at `now`, because `short.at` was short: whoever stands between them counts among those that
    /// divide it for a second, so that the others do not grow into what it will ask for again.
    pub fn want(&mut self, asked: NodeId, short: Short, now: u64) {
        let at = short.at.index;
        let mut index = asked.index;
        while let Some(node) = self.node(index).filter(|node| index != at && node.parent != at) {
            index = node.parent;
        }
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        if index == at || node.share == 0 || node.counted {
            return;
        }
        node.wants = true;
        self.count(index);
        if let Some(parent) = self.nodes.get_mut(at as usize) {
            parent.wanting.push_back((now, index));
        }
    }

    /// Forgets who asked `at` in vain more than a second before `now`. True if there was somebody.
    pub fn forget_wants(&mut self, at: NodeId, now: u64) -> bool {
        let mut any = false;
        while let Some(node) = self.get_mut(at) {
            let old = node.wanting.front().filter(|(asked, _)| now.saturating_sub(*asked) > WANT);
            let Some(&(_, child)) = old else { break };
            node.wanting.pop_front();
            self.no_longer_wants(child);
            any = true;
        }
        any
    }

    /// The node at `index` is closed: it wants nothing more.
    pub(super) fn forget_want(&mut self, index: u32) {
        let Some(node) = self.node(index).filter(|node| node.wants) else { return };
        let parent = node.parent;
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.wanting.retain(|(_, child)| *child != index);
        }
        self.no_longer_wants(index);
    }

    fn no_longer_wants(&mut self, index: u32) {
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        node.wants = false;
        if node.used == 0 {
            self.discount(index);
        }
    }
}
