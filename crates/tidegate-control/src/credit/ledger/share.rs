//! Who has a share of an account, and how much that is.

use super::Ledger;
use super::account::Account;
use super::node::Node;

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
    /// Counts the share of the account at `index` among those that divide its parent.
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

    /// `asked` asked in vain, because `at` was short: whoever stands between them counts among those that divide `at`,
    /// so that the others do not grow into what it will ask for again.
    pub(super) fn want(&mut self, asked: Account, at: Account) {
        let mut index = asked.index;
        while let Some(node) = self.node(index).filter(|_| index != at.index) {
            if node.parent == at.index {
                break;
            }
            index = node.parent;
        }
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        if index == at.index || node.share == 0 || node.counted {
            return;
        }
        node.wants = true;
        self.count(index);
        if let Some(parent) = self.nodes.get_mut(at.index as usize) {
            parent.wanting.push_back((parent.turned, index));
        }
    }

    /// Forgets who asked the account at `index` so long ago that all its bytes went round since.
    pub(super) fn forget_old_wants(&mut self, index: u32) {
        loop {
            let Some(node) = self.nodes.get_mut(index as usize) else { return };
            let (turned, limit) = (node.turned, node.limit);
            let Some(&(asked, child)) = node.wanting.front() else { return };
            if turned.saturating_sub(asked) <= limit {
                return;
            }
            node.wanting.pop_front();
            self.no_longer_wants(child);
        }
    }

    /// The account at `index` is closed: it wants nothing more.
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
