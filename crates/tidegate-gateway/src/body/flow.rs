//! [`Flow`]: what the bodies of one HTTP/2 connection have consumed, for whoever gives credit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

/// What the request bodies of one connection have consumed, and whether some of them want more.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    consumed: AtomicU64,
    look_at: AtomicU64,
    total: AtomicU64,
    bodies: AtomicUsize,
    hungry: AtomicUsize,
    news: Notify,
}

/// A body that may hold bytes of its connection.
#[derive(Debug)]
pub(crate) struct Flowing {
    flow: Arc<Flow>,
    hungry: bool,
}

impl Flow {
    /// Bytes consumed since the last time, of which it is told again after `more`.
    pub(crate) fn take(&self, more: impl FnOnce(u64) -> u64) -> u64 {
        let bytes = self.consumed.swap(0, Relaxed);
        self.look_at.store(more(bytes).max(1), Relaxed);
        bytes
    }

    /// Waits until enough was consumed. Cancel safe.
    pub(crate) async fn enough(&self) {
        self.news.notified().await;
    }

    /// Bytes consumed since the connection began.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Bodies that are not over.
    pub(crate) fn bodies(&self) -> usize {
        self.bodies.load(Relaxed)
    }

    /// Of them, those that somebody reads and that have nothing to be read.
    pub(crate) fn hungry(&self) -> usize {
        self.hungry.load(Relaxed)
    }

    /// One more body.
    pub(crate) fn body(self: &Arc<Self>) -> Flowing {
        self.bodies.fetch_add(1, Relaxed);
        Flowing { flow: Arc::clone(self), hungry: false }
    }
}

impl Flowing {
    /// So many bytes were consumed.
    pub(super) fn consumed(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.flow.total.fetch_add(bytes, Relaxed);
        let before = self.flow.consumed.fetch_add(bytes, Relaxed);
        let look_at = self.flow.look_at.load(Relaxed);
        if before < look_at && before + bytes >= look_at {
            self.flow.news.notify_one();
        }
    }

    /// Somebody reads it; `hungry` says that there was nothing to be read.
    pub(super) fn read(&mut self, hungry: bool) {
        if hungry != self.hungry {
            self.hungry = hungry;
            if hungry {
                self.flow.hungry.fetch_add(1, Relaxed);
            } else {
                self.flow.hungry.fetch_sub(1, Relaxed);
            }
        }
    }
}

impl Drop for Flowing {
    fn drop(&mut self) {
        self.read(false);
        self.flow.bodies.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn it_tells_once_enough_was_consumed() {
        let flow = Arc::<Flow>::default();
        assert_eq!(flow.take(|_| 100), 0);
        let mut body = flow.body();
        body.consumed(99);
        assert!(timeout(Duration::from_secs(1), flow.enough()).await.is_err());
        body.consumed(1);
        body.consumed(50);
        timeout(Duration::from_secs(1), flow.enough()).await.unwrap();
        assert!(timeout(Duration::from_secs(1), flow.enough()).await.is_err());
        assert_eq!((flow.take(|_| 100), flow.total(), flow.bodies(), flow.hungry()), (150, 150, 1, 0));
        body.read(true);
        body.read(true);
        assert_eq!(flow.hungry(), 1);
        drop(body);
        assert_eq!((flow.bodies(), flow.hungry()), (0, 0));
    }
}
