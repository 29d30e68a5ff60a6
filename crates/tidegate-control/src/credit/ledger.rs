//! A tree of accounts: every byte is charged to its account and to all above it, or to none.

mod account;
mod node;
mod share;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;

pub use account::Account;
use node::{NONE, Node};

use super::Urgency;

/// Why bytes were not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The account has no room for them now.
    Room,
    /// The account has room, but not for what they are asked for (see [`Urgency`]), or only what is kept for the oldest
    /// work.
    Ceiling,
    /// The account has room, but is more than half full, and whoever asks would have more of it than its share.
    Share,
    /// The account will never have room for them: they are more than its limit.
    Never,
}

/// Bytes were not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// The account that is short of them: the one asked, or the first above it.
    pub at: Account,
    /// Why.
    pub cause: Cause,
    /// Bytes that it had free.
    pub free: u64,
}

/// A tree of accounts, with one rule: the bytes charged to an account and to all below it are never more than its limit.
///
/// [`charge`](Self::charge) charges the account and everyone above it, or nobody. After [`set_limit`](Self::set_limit)
/// below what is charged already there is a debt: nothing is charged before it is paid.
///
/// **Shares.** Accounts that were opened with a share divide the account above them: while that is more than half full,
/// none of them may grow beyond its share of it. Those that hold nothing leave theirs to the others; one that asked in
/// vain counts again, until as many bytes as there are went round.
///
/// **Reserve.** Of the topmost account so much is kept for the oldest account that was opened as work: whatever happens,
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
    /// Accounts opened as work, the oldest first.
    works: BTreeMap<u64, u32>,
    begun: u64,
    reserve: u64,
}

impl Ledger {
    /// A tree of one account with `limit` bytes, `reserve` of which only the oldest work may use.
    #[must_use]
    pub fn new(limit: u64, reserve: u64) -> (Self, Account) {
        let mut root = Node::new(NONE, 0);
        root.limit = limit;
        let ledger = Self {
            nodes: vec![root],
            vacant: Vec::new(),
            works: BTreeMap::new(),
            begun: 0,
            reserve: reserve.min(limit),
        };
        (ledger, Account { index: 0, generation: 0 })
    }

    /// Opens an account below `parent`: with a limit of its own (`u64::MAX` for none), and a share of the parent (0: it
    /// takes no part in shares). `work` says that it stands for one piece of work. `None` if there is no such parent.
    pub fn open(&mut self, parent: Account, limit: u64, share: u32, work: bool) -> Option<Account> {
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
        Some(Account { index, generation })
    }

    /// Closes an account. What is still charged to it is given back; accounts below it have to be closed before.
    pub fn close(&mut self, account: Account) {
        let Some(node) = self.get(account) else { return };
        let (used, work) = (node.used, node.work);
        self.give(account, used);
        self.forget_want(account.index);
        self.works.remove(&work);
        if let Some(node) = self.nodes.get_mut(account.index as usize) {
            node.generation = node.generation.wrapping_add(1);
            node.wanting = Vec::new().into();
            self.vacant.push(account.index);
        }
    }

    /// Would `bytes` be charged? None at all always are.
    ///
    /// # Errors
    /// The lowest account that is short of them.
    #[inline]
    pub fn check(&self, account: Account, bytes: u64, urgency: Urgency) -> Result<(), Short> {
        if self.get(account).is_none() {
            return Err(Short { at: account, cause: Cause::Never, free: 0 });
        }
        if bytes == 0 {
            return Ok(());
        }
        self.check_up(account, NONE, bytes, urgency)
    }

    /// Charges `bytes` to `account` and to all above it.
    ///
    /// # Errors
    /// The lowest account that is short of them; then they are charged to none.
    #[inline]
    pub fn charge(&mut self, account: Account, bytes: u64, urgency: Urgency) -> Result<(), Short> {
        if let Err(short) = self.check(account, bytes, urgency) {
            self.want(account, short.at);
            return Err(short);
        }
        self.add(account.index, NONE, bytes);
        if let Some(node) = self.nodes.get_mut(account.index as usize) {
            node.direct = node.direct.saturating_add(bytes);
        }
        Ok(())
    }

    /// Gives back `bytes` that were charged to `account` (no more than were).
    #[inline]
    pub fn give(&mut self, account: Account, bytes: u64) {
        let Some(node) = self.get(account) else { return };
        let bytes = bytes.min(node.direct);
        self.take_off(account.index, NONE, bytes);
        if let Some(node) = self.nodes.get_mut(account.index as usize) {
            node.direct -= bytes;
        }
    }

    /// Changes a limit. Below what is charged already, nothing more is charged until the debt is paid.
    pub fn set_limit(&mut self, account: Account, limit: u64) {
        if let Some(node) = self.get_mut(account) {
            node.limit = limit;
        }
    }

    /// The account's own limit, bytes.
    #[must_use]
    pub fn limit(&self, account: Account) -> u64 {
        self.get(account).map_or(0, |node| node.limit)
    }

    /// Bytes charged to it and to all below it.
    #[must_use]
    pub fn used(&self, account: Account) -> u64 {
        self.get(account).map_or(0, |node| node.used)
    }

    /// Bytes charged to it itself.
    #[must_use]
    pub fn direct(&self, account: Account) -> u64 {
        self.get(account).map_or(0, |node| node.direct)
    }

    /// The most that was ever charged to it and to all below it, bytes.
    #[must_use]
    pub fn peak(&self, account: Account) -> u64 {
        self.get(account).map_or(0, |node| node.peak)
    }

    /// Bytes charged per unit of share: who has least of what it may have is served first.
    #[must_use]
    pub fn held_per_share(&self, account: Account) -> u64 {
        self.get(account).map_or(0, |node| node.used / u64::from(node.share.max(1)))
    }

    /// Bytes free in the account and in all above it.
    #[must_use]
    pub fn free(&self, account: Account) -> u64 {
        if self.get(account).is_none() {
            return 0;
        }
        self.up(account).map(|at| self.limit(at).saturating_sub(self.used(at))).min().unwrap_or(0)
    }

    /// The account above it.
    #[must_use]
    pub fn parent(&self, account: Account) -> Option<Account> {
        let parent = self.get(account)?.parent;
        self.node(parent).map(|node| Account { index: parent, generation: node.generation })
    }

    /// The account itself and all above it, the topmost last.
    pub fn up(&self, account: Account) -> impl Iterator<Item = Account> + '_ {
        std::iter::successors(Some(account), |at| self.parent(*at))
    }

    /// May it use the reserve?
    #[must_use]
    pub fn is_oldest_work(&self, account: Account) -> bool {
        self.works.first_key_value().is_some_and(|(_, index)| *index == account.index)
    }

    fn check_up(&self, asked: Account, end: u32, bytes: u64, urgency: Urgency) -> Result<(), Short> {
        let mut below: Option<&Node> = None;
        let mut index = asked.index;
        while let Some(node) = self.node(index).filter(|_| index != end) {
            if let Err((cause, free)) = self.admits(node, below, bytes, urgency, asked) {
                return Err(Short { at: Account { index, generation: node.generation }, cause, free });
            }
            below = Some(node);
            index = node.parent;
        }
        Ok(())
    }

    /// Does `node` admit `bytes` that come through the account `below` it?
    #[inline]
    fn admits(
        &self,
        node: &Node,
        below: Option<&Node>,
        bytes: u64,
        urgency: Urgency,
        asked: Account,
    ) -> Result<(), (Cause, u64)> {
        let free = node.limit.saturating_sub(node.used);
        let is_root = node.parent == NONE;
        // An account has its own limit for itself; what it is asked for matters where others share.
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
            if !node.wanting.is_empty() {
                node.turned = node.turned.saturating_add(bytes);
                self.forget_old_wants(index);
            }
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
    fn get(&self, account: Account) -> Option<&Node> {
        self.node(account.index).filter(|node| node.generation == account.generation)
    }

    fn get_mut(&mut self, account: Account) -> Option<&mut Node> {
        self.nodes.get_mut(account.index as usize).filter(|node| node.generation == account.generation)
    }
}
