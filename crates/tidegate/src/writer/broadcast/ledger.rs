//! What became of what was published, for each subscriber and for all.

use std::sync::Arc;

use super::policy::Policy;

/// What became of what a subscriber was offered: `offered` = `delivered` + `skipped` + what it is [behind](Listener::items).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Published since it subscribed.
    pub offered: u64,
    /// Taken by it.
    pub delivered: u64,
    /// Missed: dropped as the oldest, with its disconnection, or because it left.
    pub skipped: u64,
}

impl Ledger {
    pub(super) const fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.delivered += other.delivered;
        self.skipped += other.skipped;
    }
}

/// One subscriber, as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listener {
    /// [Its name](super::Terms::name).
    pub name: Arc<str>,
    /// What happens when it is too far behind.
    pub policy: Policy,
    /// Items it is behind.
    pub items: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// What became of the others.
    pub ledger: Ledger,
    /// It was waited for in vain, and has not caught up since.
    pub late: bool,
    /// It was disconnected, and has not gone yet.
    pub disconnected: bool,
}

/// A broadcast, as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Published in all.
    pub published: u64,
    /// Items that somebody has not taken yet.
    pub items: u64,
    /// Bytes of these: each counts once.
    pub bytes: u64,
    /// Those who subscribed and have not gone, the oldest first.
    pub listeners: Vec<Listener>,
    /// What became of what those who have gone were offered.
    pub gone: Ledger,
}
