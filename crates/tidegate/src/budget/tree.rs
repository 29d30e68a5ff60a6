//! A tree of budgets: its lock and its clock.

use std::fmt;
use std::sync::Arc;

use tidegate_control::credit::NodeId;

use crate::clock::Clock;
use crate::sync::{Mutex, lock};
use crate::wakes::Wakes;

use super::desk::Desk;

/// What every budget of a tree shares.
pub(super) struct Tree {
    pub(super) clock: Clock,
    pub(super) desk: Mutex<Desk>,
}

impl Tree {
    pub(super) fn new(name: Arc<str>, limit: u64, reserve: u64, waiters: usize) -> (Arc<Self>, NodeId) {
        let (desk, root) = Desk::new(name, limit, reserve, waiters);
        (Arc::new(Self { clock: Clock::start(), desk: Mutex::new(desk) }), root)
    }

    /// Does `work` under the lock, and wakes whom it names when that is free.
    #[inline]
    pub(super) fn visit<R>(&self, work: impl FnOnce(&mut Desk, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = work(&mut lock(&self.desk), &mut wakes);
        wakes.run();
        result
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}
