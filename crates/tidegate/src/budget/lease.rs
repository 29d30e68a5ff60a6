//! [`Lease`]: bytes held until dropped.

use tidegate_control::credit::Urgency;

use super::full::Full;
use super::node::Budget;

/// Bytes held; given back when it is dropped, or made smaller. Who is next gets them from this very call.
///
/// ```
/// use tidegate::budget::Budget;
///
/// let process = Budget::new("process", 100);
/// let (read, write) = (process.child("read").build(), process.child("write").build());
/// let mut lease = read.try_lease(60)?;
/// let head = lease.split(20).unwrap();
/// lease.transfer(&write)?;
/// assert_eq!((read.used(), write.used(), process.used()), (20, 40, 60));
/// lease.shrink_to(10);
/// lease.try_grow(5)?;
/// drop(head);
/// assert_eq!((lease.bytes(), process.used()), (15, 15));
/// # Ok::<(), tidegate::budget::Full>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a lease gives the bytes back at once"]
pub struct Lease {
    budget: Budget,
    bytes: u64,
}

impl Lease {
    #[inline]
    pub(super) fn new(budget: Budget, bytes: u64) -> Self {
        Self { budget, bytes }
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The budget they are charged to.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes `bytes` of them into a lease of their own; `None` if there are fewer.
    pub fn split(&mut self, bytes: u64) -> Option<Self> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(Self { budget: self.budget.clone(), bytes })
    }

    /// Keeps at most `bytes`, and gives the rest back.
    pub fn shrink_to(&mut self, bytes: u64) {
        let rest = self.bytes.saturating_sub(bytes);
        self.bytes -= rest;
        self.give(rest);
    }

    /// Leases `more` bytes, or none, as [`Budget::try_lease`] does.
    ///
    /// # Errors
    /// The first budget on the way up that has no room for them; the lease stays as it is.
    pub fn try_grow(&mut self, more: u64) -> Result<(), Full> {
        let tree = self.budget.tree();
        let id = self.budget.id();
        tree.visit(|desk, _| desk.ask(id, more, Urgency::InProgress, &tree.clock))?;
        self.bytes += more; // no more than the limit: they were charged
        Ok(())
    }

    /// Takes `other` in, which is charged to the same budget.
    ///
    /// # Errors
    /// `other`, if it is charged to another budget: [transfer](Self::transfer) it first.
    pub fn merge(&mut self, mut other: Self) -> Result<(), Self> {
        if !self.budget.same(&other.budget) {
            return Err(other);
        }
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
        Ok(())
    }

    /// Charges it to another budget, in one step: there is no moment at which the bytes are charged to neither, or twice
    /// to a budget above both. (Between two trees, which have no budget above both, they are charged to both for a moment.)
    ///
    /// # Errors
    /// The first budget on the way up from `to` that has no room; the lease stays where it is.
    pub fn transfer(&mut self, to: &Budget) -> Result<(), Full> {
        if std::sync::Arc::ptr_eq(self.budget.tree(), to.tree()) {
            let tree = to.tree();
            let way = (self.budget.id(), to.id());
            tree.visit(|desk, wakes| desk.transfer(way, self.bytes, &tree.clock, wakes))?;
            self.budget = to.clone();
        } else {
            // The old one goes when it was swapped out.
            let _old = std::mem::replace(self, to.try_lease(self.bytes)?);
        }
        Ok(())
    }

    fn give(&self, bytes: u64) {
        if bytes > 0 {
            let tree = self.budget.tree();
            tree.visit(|desk, wakes| desk.give(self.budget.id(), bytes, &tree.clock, wakes));
        }
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.give(self.bytes);
    }
}
