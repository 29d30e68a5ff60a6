//! How far a subscriber may be behind, and what happens then.

use std::sync::Arc;
use std::time::Duration;

/// What happens to a subscriber that is further behind than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// It misses the oldest of what it did not take, and is [told](super::Event::Gap) how many. For what is soon out of
    /// date: prices, positions, presence.
    DropOldest,
    /// It is disconnected, and told why. For what is worth nothing with gaps, where a subscriber can begin anew.
    Disconnect,
    /// Publishing waits until it has caught up, for `patience` at most. Others have the item meanwhile, and wait at most so long
    /// for the next. A subscriber for which that was in vain is not waited for again until it has taken half of what it was
    /// behind: it stops the others once, not for each item.
    Wait {
        /// How long.
        patience: Duration,
        /// What happens then.
        then: Late,
    },
}

/// What happens to a subscriber that was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Late {
    /// As with [`Policy::DropOldest`].
    DropOldest,
    /// As with [`Policy::Disconnect`].
    Disconnect,
}

impl Policy {
    /// Waits for so long; then the oldest are missed.
    #[must_use]
    pub const fn wait(patience: Duration) -> Self {
        Self::Wait { patience, then: Late::DropOldest }
    }

    /// What happens now to one that is too far behind, if it is not waited for.
    pub(super) const fn at_last(self) -> Late {
        match self {
            Self::DropOldest | Self::Wait { then: Late::DropOldest, .. } => Late::DropOldest,
            Self::Disconnect | Self::Wait { then: Late::Disconnect, .. } => Late::Disconnect,
        }
    }

    pub(super) const fn patience(self) -> Option<Duration> {
        match self {
            Self::Wait { patience, .. } => Some(patience),
            Self::DropOldest | Self::Disconnect => None,
        }
    }
}

/// On which terms somebody subscribes.
#[derive(Clone, Debug)]
pub struct Terms {
    pub(super) policy: Policy,
    pub(super) max_items: u64,
    pub(super) max_bytes: u64,
    pub(super) name: Arc<str>,
}

impl Terms {
    /// The items that a subscriber may be behind by default: 64, a second of one every 16 ms, as a screen shows them.
    pub const DEFAULT_MAX_ITEMS: u64 = 64;

    /// And the bytes: 256 KiB, four of the largest that are published by default.
    pub const DEFAULT_MAX_BYTES: u64 = 256 << 10;

    /// These, with the default bounds.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let (max_items, max_bytes) = (Self::DEFAULT_MAX_ITEMS, Self::DEFAULT_MAX_BYTES);
        Self { policy, max_items, max_bytes, name: Arc::from("") }
    }

    /// It may be behind by so many items, at least 1.
    #[must_use]
    pub fn max_items(mut self, items: u64) -> Self {
        self.max_items = items.max(1);
        self
    }

    /// It may be behind by so many bytes; at least the largest item that is published.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Its name, for [`Snapshot`](super::Snapshot).
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }
}
