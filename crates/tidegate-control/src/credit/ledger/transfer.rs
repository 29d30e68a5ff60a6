//! Bytes pass from one account to another without a gap, and without being counted twice.

use super::account::Account;
use super::node::NONE;
use super::{Cause, Ledger, Short};
use crate::credit::Urgency;

impl Ledger {
    /// Moves `bytes` (no more than are charged there) from `from` to `to`. Accounts above both are not touched.
    ///
    /// # Errors
    /// The lowest account on the way to `to` that is short of them; then they stay where they are.
    pub fn transfer(&mut self, from: Account, to: Account, bytes: u64) -> Result<(), Short> {
        let Some(bytes) =
            self.get(from).map(|node| bytes.min(node.direct)).filter(|_| self.get(to).is_some())
        else {
            return Err(Short { at: to, cause: Cause::Never, free: 0 });
        };
        if bytes == 0 {
            return Ok(());
        }
        let meeting = self.meeting(from.index, to.index);
        let moved = self
            .check_up(to, meeting, bytes, Urgency::InProgress)
            .and_then(|()| self.check_share(to, meeting, bytes));
        if let Err(short) = moved {
            self.want(to, short.at);
            return Err(short);
        }
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
    fn check_share(&self, to: Account, meeting: u32, bytes: u64) -> Result<(), Short> {
        let Some(parent) = self.node(meeting) else { return Ok(()) };
        let mut index = to.index;
        while let Some(node) = self.node(index).filter(|_| index != meeting) {
            if node.parent == meeting && node.exceeds_share(parent, node.used, bytes, parent.used) {
                let at = Account { index: meeting, generation: parent.generation };
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

    /// The lowest account that is above both, or is one of them.
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
