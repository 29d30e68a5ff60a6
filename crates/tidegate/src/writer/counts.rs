//! What became of the writers that one [`Writers`](super::Writers) made.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::error::WriteError;

/// What became of the writers made alike. Every writer ends as one of `finished`, `aborted`, `too_slow` and `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterStats {
    /// Writers made.
    pub opened: u64,
    /// Those that said all they had to.
    pub finished: u64,
    /// Dropped before they were finished: their peers got a reset.
    pub aborted: u64,
    /// Ended because the peer took too few bytes.
    pub too_slow: u64,
    /// Ended because the connection failed.
    pub failed: u64,
    /// Bytes accepted in all.
    pub accepted: u64,
    /// Bytes that the writers hold now, the kernel's not counted.
    pub buffered: u64,
}

impl WriterStats {
    /// Writers that have not ended.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.opened.saturating_sub(self.finished + self.aborted + self.too_slow + self.failed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) opened: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) aborted: AtomicU64,
    pub(super) too_slow: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) buffered: AtomicU64,
}

impl Counts {
    pub(super) fn ended_by(&self, error: &WriteError) {
        let count = if matches!(error, WriteError::TooSlow(_)) { &self.too_slow } else { &self.failed };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn stats(&self) -> WriterStats {
        // Those that ended are read first, so that no writer seems to have ended before it was made.
        let [finished, aborted, too_slow, failed] =
            [&self.finished, &self.aborted, &self.too_slow, &self.failed].map(|count| count.load(Relaxed));
        let [opened, accepted, buffered] =
            [&self.opened, &self.accepted, &self.buffered].map(|count| count.load(Relaxed));
        WriterStats { opened, finished, aborted, too_slow, failed, accepted, buffered }
    }
}
