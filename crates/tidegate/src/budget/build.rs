//! A budget in the making.

use std::sync::Arc;

use super::node::Budget;

/// A topmost budget about which there is more to say; made by [`Budget::root`].
///
/// ```
/// use tidegate::budget::Budget;
///
/// let process = Budget::root("process", 64 << 20).reserve(1 << 20).max_waiters(256).build();
/// assert_eq!(process.limit(), 64 << 20);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a budget is made by `build`"]
pub struct Root {
    name: Arc<str>,
    bytes: u64,
    reserve: u64,
    waiters: usize,
}

impl Root {
    pub(super) fn new(name: Arc<str>, bytes: u64) -> Self {
        Self { name, bytes, reserve: 0, waiters: Budget::DEFAULT_MAX_WAITERS }
    }

    /// Keeps so many of its bytes for the oldest piece of [work](Child::work). 0 by default;
    /// One in [`Budget::DEFAULT_RESERVE`] is little.
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = bytes;
        self
    }

    /// So many may [wait](Budget::lease) in the whole tree, [`DEFAULT_MAX_WAITERS`](Budget::DEFAULT_MAX_WAITERS) by
    /// default. **When full,** who comes then is refused with [`QueueFull`](crate::Reason::QueueFull).
    pub fn max_waiters(mut self, waiters: usize) -> Self {
        self.waiters = waiters;
        self
    }

    /// Makes it.
    #[must_use]
    pub fn build(self) -> Budget {
        Budget::top(self.name, self.bytes, self.reserve, self.waiters)
    }
}

/// A budget below another, in the making; made by [`Budget::child`].
///
/// ```
/// use tidegate::budget::Budget;
///
/// let process = Budget::new("process", 1000);
/// let gold = process.child("gold").share(3).build();
/// let basic = process.child("basic").share(1).limit(600).build();
/// let _all = gold.try_lease(500)?;
/// let _quarter = basic.try_lease(250)?;
/// assert!(basic.try_lease(1).is_err()); // the process is more than half full, and this is its share
/// # Ok::<(), tidegate::budget::Full>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a budget is made by `build`"]
pub struct Child {
    parent: Budget,
    name: Arc<str>,
    limit: u64,
    share: u32,
    work: bool,
    waiters: usize,
}

impl Child {
    pub(super) fn new(parent: Budget, name: Arc<str>) -> Self {
        Self { parent, name, limit: u64::MAX, share: 0, work: false, waiters: usize::MAX }
    }

    /// At most so many bytes are held by it and below it. By default as many as the one above it lets it have.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Its part of the budget above it, beside those of its siblings. While that budget is more than half full, it does
    /// not grow beyond this part; what siblings that hold nothing leave is divided among the others. 0, the default, takes
    /// no part in this: first come, first served.
    pub fn share(mut self, share: u32) -> Self {
        self.share = share;
        self
    }

    /// It stands for one piece of work that began now, a request for instance. The oldest of the tree may use the
    /// [reserve](Root::reserve), so that one at least can go on to its end, and then the next.
    pub fn work(mut self) -> Self {
        self.work = true;
        self
    }

    /// So many of those that may wait in the tree may wait at it and below it. **When full,** who comes then is refused.
    pub fn max_waiters(mut self, waiters: usize) -> Self {
        self.waiters = waiters;
        self
    }

    /// Makes it. It is there as long as anybody has it, a budget below it, or bytes of it.
    #[must_use]
    pub fn build(self) -> Budget {
        let Self { parent, name, limit, share, work, waiters } = self;
        Budget::below(parent, name, (limit, share, work, waiters))
    }
}
