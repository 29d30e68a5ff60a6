//! A tree of nodes: every byte is charged to its node and to all above it, or to none.

mod id;
mod node;
mod share;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;

pub use id::NodeId;
use node::{NONE, Node};

use super::Urgency;

/// Why bytes were not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The node has no room for them now.
    Room,
    /// The node has room, but not for what they are asked for (see [`Urgency`]), or only what is kept for the oldest
    /// work.
    Ceiling,
    /// The node has room, but is more than half full, and whoever asks would have more of it than its share.
    Share,
    /// The node will never have room for them: they are more than its limit.
    Never,
}

/// Bytes were not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// The node that is short of them: the one asked, or the first above it.
    pub at: NodeId,
    /// Why.
    pub cause: Cause,
    /// Bytes that it had free.
    pub free: u64,
}

/// A tree of nodes, with one rule: the bytes charged to a node and to all below it are never more than its limit.
///
/// [`charge`](Self::charge) charges the node and everyone above it, or nobody. After [`set_limit`](Self::set_limit)
/// below what is charged already there is a debt: nothing is charged before it is paid.
///
/// **Shares.** Nodes that were opened with a share divide the node above them: while that is more than half full,
/// none of them may grow beyond its share of it. Those that hold nothing leave theirs to the others; one that
/// [asked in vain](Self::want) counts for a second all the same.
///
/// **Reserve.** Of the topmost node so much is kept for the oldest node that was opened as work: whatever happens,
/// one piece of work can go on.
///
/// ```
/// use tidegate_control::credit::{Cause, Ledger, Urgency};
///
/// let (mut ledger, process) = Ledger::new(100, 0);
/// let peer = ledger.open(process, 40, 0, false).unwrap();
/// ledger.charge(peer, 30, Urgency::InProgress).unwrap();
/// assert_eq!((ledger.used(process), ledger.free(peer)), (30, 10));
/// let short = ledger.charge(peer, 20, Urgency::InProgress).unwrap_err();
/// assert_eq!((short.at, short.cause), (peer, Cause::Room));
/// ```
#[derive(Debug)]
pub struct Ledger {
    nodes: Vec<Node>,
    vacant: Vec<u32>,
    /// Nodes opened as work, the oldest first.
    works: BTreeMap<u64, u32>,
    begun: u64,
    reserve: u64,
}

impl Ledger {
    /// A tree of one node with `limit` bytes, `reserve` of which only the oldest work may use.
    #[must_use]
    pub fn new(limit: u64, reserve: u64) -> (Self, NodeId) {
        let mut root = Node::new(NONE, 0);
        root.limit = limit;
        let ledger = Self {
            nodes: vec![root],
            vacant: Vec::new(),
            works: BTreeMap::new(),
            begun: 0,
            reserve: reserve.min(limit),
        };
        (ledger, NodeId { index: 0, generation: 0 })
    }

    /// Opens a node below `parent`: with a limit of its own (`u64::MAX` for none), and a share of the parent (0: it
    /// takes no part in shares). `work` says that it stands for one piece of work. `None` if there is no such parent.
    pub fn open(&mut self, parent: NodeId, limit: u64, share: u32, work: bool) -> Option<NodeId> {
        let depth = self.get(parent)?.depth + 1;
        let index = self.vacant.pop();
        let index = index.or_else(|| u32::try_from(self.nodes.len()).ok().filter(|index| *index != NONE))?;
        let mut node = Node::new(parent.index, depth);
        (node.limit, node.share) = (limit, share);
        if work {
            self.begun += 1;
            node.work = self.begun;
            self.works.insert(self.begun, index);
        }
        match self.nodes.get_mut(index as usize) {
            Some(old) => {
                node.generation = old.generation;
                *old = node;
            }
            None => self.nodes.push(node),
        }
        let generation = self.node(index)?.generation;
        Some(NodeId { index, generation })
    }

    /// Closes a node. What is still charged to it is given back; nodes below it have to be closed before.
    pub fn close(&mut self, id: NodeId) {
        let Some(node) = self.get(id) else { return };
        let (used, work) = (node.used, node.work);
        self.give(id, used);
        self.forget_want(id.index);
        self.works.remove(&work);
        if let Some(node) = self.nodes.get_mut(id.index as usize) {
            node.generation = node.generation.wrapping_add(1);
            node.wanting = Vec::new().into();
            self.vacant.push(id.index);
        }
    }

    /// Would `bytes` be charged? None at all always are.
    ///
    /// # Errors
    /// The lowest node that is short of them.
    #[inline]
    pub fn check(&self, id: NodeId, bytes: u64, urgency: Urgency) -> Result<(), Short> {
        if self.get(id).is_none() {
            return Err(Short { at: id, cause: Cause::Never, free: 0 });
        }
        if bytes == 0 {
            return Ok(());
        }
        self.check_up(id, NONE, bytes, urgency)
    }

    /// Charges `bytes` to `id` and to all above it.
    ///
    /// # Errors
    /// The lowest node that is short of them; then they are charged to none.
    #[inline]
    pub fn charge(&mut self, id: NodeId, bytes: u64, urgency: Urgency) -> Result<(), Short> {
        self.check(id, bytes, urgency)?;
        self.add(id.index, NONE, bytes);
        if let Some(node) = self.nodes.get_mut(id.index as usize) {
            node.direct = node.direct.saturating_add(bytes);
        }
        Ok(())
    }

    /// Gives back `bytes` that were charged to `id` (no more than were).
    #[inline]
    pub fn give(&mut self, id: NodeId, bytes: u64) {
        let Some(node) = self.get(id) else { return };
        let bytes = bytes.min(node.direct);
        self.take_off(id.index, NONE, bytes);
        if let Some(node) = self.nodes.get_mut(id.index as usize) {
            node.direct -= bytes;
        }
    }

    /// Changes a limit. Below what is charged already, nothing more is charged until the debt is paid.
    pub fn set_limit(&mut self, id: NodeId, limit: u64) {
        if let Some(node) = self.get_mut(id) {
            node.limit = limit;
        }
    }

    /// The node's own limit, bytes.
    #[must_use]
    pub fn limit(&self, id: NodeId) -> u64 {
        self.get(id).map_or(0, |node| node.limit)
    }

    /// Bytes charged to it and to all below it.
    #[must_use]
    pub fn used(&self, id: NodeId) -> u64 {
        self.get(id).map_or(0, |node| node.used)
    }

    /// Bytes charged to it itself.
    #[must_use]
    pub fn direct(&self, id: NodeId) -> u64 {
        self.get(id).map_or(0, |node| node.direct)
    }

    /// The most that was ever charged to it and to all below it, bytes.
    #[must_use]
    pub fn peak(&self, id: NodeId) -> u64 {
        self.get(id).map_or(0, |node| node.peak)
    }

    /// Bytes charged per unit of share: who has least of what it may have is served first.
    #[must_use]
    pub fn held_per_share(&self, id: NodeId) -> u64 {
        self.get(id).map_or(0, |node| node.used / u64::from(node.share.max(1)))
    }

    /// Bytes free in the node and in all above it.
    #[must_use]
    pub fn free(&self, id: NodeId) -> u64 {
        if self.get(id).is_none() {
            return 0;
        }
        self.up(id).map(|at| self.limit(at).saturating_sub(self.used(at))).min().unwrap_or(0)
    }

    /// The node above it.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        let parent = self.get(id)?.parent;
        self.node(parent).map(|node| NodeId { index: parent, generation: node.generation })
    }

    /// The node itself and all above it, the topmost last.
    pub fn up(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(Some(id), |at| self.parent(*at))
    }

    /// May it use the reserve?
    #[must_use]
    pub fn is_oldest_work(&self, id: NodeId) -> bool {
        self.works.first_key_value().is_some_and(|(_, index)| *index == id.index)
    }

    fn check_up(&self, asked: NodeId, end: u32, bytes: u64, urgency: Urgency) -> Result<(), Short> {
        let mut below: Option<&Node> = None;
        let mut index = asked.index;
        while let Some(node) = self.node(index).filter(|_| index != end) {
            if let Err((cause, free)) = self.admits(node, below, bytes, urgency, asked) {
                return Err(Short { at: NodeId { index, generation: node.generation }, cause, free });
            }
            below = Some(node);
            index = node.parent;
        }
        Ok(())
    }

    /// Does `node` admit `bytes` that come through the node `below` it?
    #[inline]
    fn admits(
        &self,
        node: &Node,
        below: Option<&Node>,
        bytes: u64,
        urgency: Urgency,
        asked: NodeId,
    ) -> Result<(), (Cause, u64)> {
        let free = node.limit.saturating_sub(node.used);
        let is_root = node.parent == NONE;
        // A node has its own limit for itself; what it is asked for matters where others share.
        let shared = is_root || below.is_some();
        let ceiling = if shared { urgency.ceiling(node.limit) } else { node.limit };
        if bytes > free {
            let cause = if bytes > ceiling { Cause::Never } else { Cause::Room };
            return Err((cause, free));
        }
        let after = node.used + bytes;
        if after > ceiling {
            let cause = if bytes > ceiling { Cause::Never } else { Cause::Ceiling };
            return Err((cause, free));
        }
        let reserve = if is_root { self.reserve } else { 0 };
        if after > node.limit.saturating_sub(reserve) && !self.is_oldest_work(asked) {
            return Err((Cause::Ceiling, free));
        }
        match below {
            Some(below) if below.exceeds_share(node, below.used, bytes, after) => Err((Cause::Share, free)),
            _ => Ok(()),
        }
    }

    /// Adds `bytes` from `index` up to, and without, `end`.
    #[inline]
    fn add(&mut self, mut index: u32, end: u32, bytes: u64) {
        while index != end {
            let Some(node) = self.nodes.get_mut(index as usize) else { return };
            node.used += bytes;
            node.peak = node.peak.max(node.used);
            let (parent, began) = (node.parent, node.share > 0 && !node.counted && node.used > 0);
            if began {
                self.count(index);
            }
            index = parent;
        }
    }

    /// Takes `bytes` off from `index` up to, and without, `end`.
    #[inline]
    fn take_off(&mut self, mut index: u32, end: u32, bytes: u64) {
        while index != end {
            let Some(node) = self.nodes.get_mut(index as usize) else { return };
            node.used = node.used.saturating_sub(bytes);
            let (parent, ended) = (node.parent, node.counted && !node.wants && node.used == 0);
            if ended {
                self.discount(index);
            }
            index = parent;
        }
    }

    #[inline]
    fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    #[inline]
    fn get(&self, id: NodeId) -> Option<&Node> {
        self.node(id.index).filter(|node| node.generation == id.generation)
    }

    fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.index as usize).filter(|node| node.generation == id.generation)
    }
}
