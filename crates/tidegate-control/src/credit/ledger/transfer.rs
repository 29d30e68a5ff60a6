//! Bytes pass from one node to another without a gap, and without being counted twice.

use super::id::NodeId;
use super::node::NONE;
use super::{Cause, Ledger, Short};
use crate::credit::Urgency;

impl Ledger {
    /// Moves `bytes` (no more than are charged there) from `from` to `to`. Nodes above both are not touched.
    ///
    /// # Errors
    /// The lowest node on the way to `to` that is short of them; then they stay where they are.
    pub fn transfer(&mut self, from: NodeId, to: NodeId, bytes: u64) -> Result<(), Short> {
        let Some(bytes) =
            self.get(from).map(|node| bytes.min(node.direct)).filter(|_| self.get(to).is_some())
        else {
            return Err(Short { at: to, cause: Cause::Never, free: 0 });
        };
        if bytes == 0 {
            return Ok(());
        }
        let meeting = self.meeting(from.index, to.index);
        self.check_up(to, meeting, bytes, Urgency::InProgress)?;
        self.check_share(to, meeting, bytes)?;
        self.take_off(from.index, meeting, bytes);
        self.add(to.index, meeting, bytes);
        if let Some(node) = self.get_mut(from) {
            node.direct -= bytes;
        }
        if let Some(node) = self.get_mut(to) {
            node.direct += bytes;
        }
        Ok(())
    }

    /// Where both meet nothing is charged, but the one below it on the way to `to` grows.
    fn check_share(&self, to: NodeId, meeting: u32, bytes: u64) -> Result<(), Short> {
        let Some(parent) = self.node(meeting) else { return Ok(()) };
        let mut index = to.index;
        while let Some(node) = self.node(index).filter(|_| index != meeting) {
            if node.parent == meeting && node.exceeds_share(parent, node.used, bytes, parent.used) {
                let at = NodeId { index: meeting, generation: parent.generation };
                return Err(Short {
                    at,
                    cause: Cause::Share,
                    free: parent.limit.saturating_sub(parent.used),
                });
            }
            index = node.parent;
        }
        Ok(())
    }

    /// The lowest node that is above both, or is one of them.
    fn meeting(&self, mut one: u32, mut other: u32) -> u32 {
        while one != other {
            let (Some(first), Some(second)) = (self.node(one), self.node(other)) else { return NONE };
            if first.depth >= second.depth {
                one = first.parent;
            }
            if second.depth >= first.depth {
                other = second.parent;
            }
        }
        one
    }
}
