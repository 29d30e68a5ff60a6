//! What is kept of a node.

use std::collections::VecDeque;

/// No node.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) generation: u32,
    pub(super) depth: u32,
    pub(super) share: u32,
    pub(super) limit: u64,
    /// Charged to it and to all below it.
    pub(super) used: u64,
    /// Charged to it itself.
    pub(super) direct: u64,
    pub(super) peak: u64,
    /// Which piece of work it is, counted from 1; 0 if it is none.
    pub(super) work: u64,
    /// Its share is among those that divide its parent.
    pub(super) counted: bool,
    /// It asked its parent in vain, not long ago.
    pub(super) wants: bool,
    /// Shares that divide it.
    pub(super) divided_by: u64,
    /// Who wants some, and since when; the first to ask comes first.
    pub(super) wanting: VecDeque<(u64, u32)>,
}

impl Node {
    pub(super) fn new(parent: u32, depth: u32) -> Self {
        Self {
            parent,
            generation: 0,
            depth,
            share: 0,
            limit: u64::MAX,
            used: 0,
            direct: 0,
            peak: 0,
            work: 0,
            counted: false,
            wants: false,
            divided_by: 0,
            wanting: VecDeque::new(),
        }
    }
}
