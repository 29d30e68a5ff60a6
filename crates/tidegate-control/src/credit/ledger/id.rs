//! The name of a node.

/// A node of a [`Ledger`](super::Ledger); never means another one, also after it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl NodeId {
    /// A small number that no other open node of its ledger has: the place of what else is kept about it.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}
