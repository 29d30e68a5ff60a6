//! [`Budget`]: bytes that may be held, as a node of a tree.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidegate_control::credit::{NodeId, Urgency};

use super::build::{Child, Root};
use super::full::Full;
use super::lease::Lease;
use super::memory::Memory;
use super::tree::Tree;
use super::wait::Leasing;

/// Bytes that may be held at once, here and below; cloning it makes no new one.
///
/// Everything it is asked takes the lock of its tree for a moment and never waits for anybody else; only [`Leasing`] does.
/// See the [module](super).
#[derive(Clone)]
pub struct Budget(Arc<Grip>);

/// One budget, for all that hold it.
struct Grip {
    tree: Arc<Tree>,
    id: NodeId,
    name: Arc<str>,
    /// Stays as long as this one.
    parent: Option<Budget>,
}

impl Budget {
    /// Those that may wait in a tree by default: 1024, as in the limiter's queue. They hold no bytes.
    pub const DEFAULT_MAX_WAITERS: usize = 1024;
    /// The part that [`from_container`](Self::from_container) [keeps](Root::reserve) for the oldest work: one in 50, as
    /// little as lets one request go on among thousands.
    pub const DEFAULT_RESERVE: u64 = 50;

    /// A budget of so many bytes, with none above it and no reserve.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, bytes: u64) -> Self {
        Self::root(name, bytes).build()
    }

    /// The same, with more to say about it.
    pub fn root(name: impl Into<Arc<str>>, bytes: u64) -> Root {
        Root::new(name.into(), bytes)
    }

    /// A quarter of the memory that the container allows, or the machine has (see [`Memory::here`]): the rest is for what is
    /// not leased, the program itself, its allocator's slack and the kernel's buffers. One in
    /// [`DEFAULT_RESERVE`](Self::DEFAULT_RESERVE) is kept for the oldest work.
    ///
    /// ```
    /// use tidegate::budget::{Budget, Memory};
    ///
    /// let process = Budget::from_container();
    /// assert_eq!(process.limit(), Memory::here().bytes / 4);
    /// ```
    #[must_use]
    pub fn from_container() -> Self {
        let bytes = Memory::here().bytes / 4;
        Self::root("process", bytes).reserve(bytes / Self::DEFAULT_RESERVE).build()
    }

    /// A budget below this one.
    pub fn child(&self, name: impl Into<Arc<str>>) -> Child {
        Child::new(self.clone(), name.into())
    }

    pub(super) fn top(name: Arc<str>, bytes: u64, reserve: u64, waiters: usize) -> Self {
        let (tree, id) = Tree::new(Arc::clone(&name), bytes, reserve, waiters);
        Self(Arc::new(Grip { tree, id, name, parent: None }))
    }

    pub(super) fn below(parent: Self, name: Arc<str>, how: (u64, u32, bool, usize)) -> Self {
        let tree = Arc::clone(parent.tree());
        let given = Arc::clone(&name);
        let id = tree.visit(|desk, _| desk.open(parent.id(), given, how));
        match id {
            Some(id) => Self(Arc::new(Grip { tree, id, name, parent: Some(parent) })),
            // Four billion nodes are open: their bytes are counted where they came from.
            None => parent,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Leases `bytes`, or none: charged to this budget and to all above it. Never waits; for work in progress.
    ///
    /// # Errors
    /// The first budget on the way up that has no room for them.
    #[inline]
    pub fn try_lease(&self, bytes: u64) -> Result<Lease, Full> {
        self.try_lease_for(Urgency::InProgress, bytes)
    }

    /// The same for something else than work in progress, for which less of what is shared may be used.
    ///
    /// ```
    /// use tidegate::budget::{Budget, Urgency};
    ///
    /// let process = Budget::new("process", 1000);
    /// let _half = process.try_lease(550)?;
    /// assert!(process.try_lease_for(Urgency::New, 100).is_err());
    /// assert!(process.try_lease_for(Urgency::Growth, 100).is_ok());
    /// # Ok::<(), tidegate::budget::Full>(())
    /// ```
    ///
    /// # Errors
    /// The first budget on the way up that has no room for them.
    #[inline]
    pub fn try_lease_for(&self, urgency: Urgency, bytes: u64) -> Result<Lease, Full> {
        let tree = self.tree();
        tree.visit(|desk, _| desk.ask(self.id(), bytes, urgency, &tree.clock))?;
        Ok(Lease::new(self.clone(), bytes))
    }

    /// Leases `bytes`, after its turn if need be. It asks when it is first polled.
    ///
    /// **When full:** it waits, holding nothing, with a [bound](Leasing::within) if it is given one; it is refused if as
    /// many [wait](Root::max_waiters) as may, or if it could never be served. **When cancelled:** dropping it leaves the
    /// line at once, and bytes that it was granted pass on.
    pub fn lease(&self, bytes: u64) -> Leasing {
        Leasing::new(self.clone(), bytes)
    }

    /// How long a lease of `bytes` would wait now: zero if it would not, `None` if the pace is not known or it could never
    /// be had.
    #[must_use]
    pub fn predict(&self, bytes: u64) -> Option<Duration> {
        self.tree().visit(|desk, _| {
            let stop = desk.fits(self.id(), bytes, Urgency::InProgress, None).err();
            stop.map_or(Some(Duration::ZERO), |stop| desk.full(bytes, stop).wait)
        })
    }

    /// What it may hold, bytes: its own limit, or the least above it.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.tree()
            .visit(|desk, _| desk.ledger.up(self.id()).map(|at| desk.ledger.limit(at)).min().unwrap_or(0))
    }

    /// Bytes held here and below.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.tree().visit(|desk, _| desk.ledger.used(self.id()))
    }

    /// The most that was ever held here and below, bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.tree().visit(|desk, _| desk.ledger.peak(self.id()))
    }

    /// Bytes free here and in all above it; 0 while there is a debt.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.tree().visit(|desk, _| desk.ledger.free(self.id()))
    }

    /// Those that wait here and below.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.tree().visit(|desk, _| desk.node(self.id()).map_or(0, |node| node.asks))
    }

    /// Changes its own limit. Raised, those that wait are served at once; lowered below what is held, nobody is until the
    /// debt is paid, and those that wait for more than it are refused.
    pub fn set_limit(&self, bytes: u64) {
        let tree = self.tree();
        tree.visit(|desk, wakes| desk.set_limit(self.id(), bytes, &tree.clock, wakes));
    }

    /// The budget above it.
    #[must_use]
    pub fn parent(&self) -> Option<&Self> {
        self.0.parent.as_ref()
    }

    /// Are both one and the same?
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    #[inline]
    pub(super) fn tree(&self) -> &Arc<Tree> {
        &self.0.tree
    }

    #[inline]
    pub(super) fn id(&self) -> NodeId {
        self.0.id
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        if self.parent.is_some() {
            let node = self.tree.visit(|desk, wakes| desk.close(self.id, &self.tree.clock, wakes));
            drop(node);
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [("used", self.used()), ("limit", self.limit())];
        let mut debug = f.debug_struct("Budget");
        debug.field("name", &self.name());
        fields.iter().for_each(|(name, value)| {
            debug.field(name, value);
        });
        debug.finish()
    }
}
