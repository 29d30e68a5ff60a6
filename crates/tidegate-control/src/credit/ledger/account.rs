//! The name of an account.

/// An account of a [`Ledger`](super::Ledger); never means another one, also after it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Account {
    /// A small number that no other open account of its ledger has: the place of what else is kept about it.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}
