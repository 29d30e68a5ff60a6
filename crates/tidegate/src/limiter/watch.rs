//! Being told when readiness changes, or when the last unit came back.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::readiness::Readiness;
use crate::sync::lock;

use super::limiter::Limiter;
use super::stats::LimiterStats;

/// Tells when a limiter's readiness changes from one of its four states to another; made by
/// [`Limiter::subscribe`].
///
/// While somebody watches, every admission and release of the limiter takes its lock.
#[derive(Debug)]
pub struct ReadinessWatch {
    limiter: Limiter,
    seen: u8,
}

impl ReadinessWatch {
    pub(super) fn new(limiter: Limiter) -> Self {
        let shared = limiter.shared();
        let mut desk = lock(&shared.desk);
        desk.watchers += 1;
        shared.gate.set_desk(true);
        let seen = desk.readiness_kind(shared);
        // Others may still have to hear of the change that brought it here.
        if desk.watchers == 1 {
            desk.told = seen;
        }
        drop(desk);
        Self { limiter, seen }
    }

    /// Readiness now.
    #[must_use]
    pub fn borrow(&self) -> Readiness {
        self.limiter.readiness()
    }

    /// Waits until readiness is in another state than when this watch last saw it. States that came and went
    /// meanwhile may be missed. **When full:** it waits as long as that lasts, without a place in the queue; bound it by
    /// a timeout. **When cancelled:** nothing is lost.
    pub async fn changed(&mut self) -> Readiness {
        self.wait_for(|kind, seen| kind != seen).await
    }

    /// Waits until a caller would be admitted at once. An answer, not a promise: others may be faster. **When full:**
    /// it waits as long as that lasts, without a place in the queue, and for ever once the limiter drains; bound it by a
    /// timeout. **When cancelled:** nothing is lost.
    pub async fn wait_until_ready(&mut self) {
        self.wait_for(|kind, _| kind == 0).await;
    }

    async fn wait_for(&mut self, enough: impl Fn(u8, u8) -> bool) -> Readiness {
        loop {
            let shared = self.limiter.shared();
            let mut changed = pin!(shared.changed.notified());
            changed.as_mut().enable();
            let kind = lock(&shared.desk).readiness_kind(shared);
            if enough(kind, self.seen) {
                self.seen = kind;
                return self.limiter.readiness();
            }
            self.seen = kind;
            changed.await;
        }
    }
}

impl Drop for ReadinessWatch {
    fn drop(&mut self) {
        let shared = self.limiter.shared();
        let mut desk = lock(&shared.desk);
        desk.watchers = desk.watchers.saturating_sub(1);
        if desk.watchers == 0 && !shared.always_at_desk() {
            shared.gate.set_desk(false);
        }
    }
}

/// Resolves when a draining limiter holds nothing and nobody waits; made by [`Limiter::drain`].
///
/// **When full:** it waits for all who hold or wait, without a bound of its own: bound it by a timeout. **When
/// cancelled:** dropping it does not end the drain.
#[must_use = "futures do nothing unless awaited"]
pub struct Drained {
    empty: Pin<Box<dyn Future<Output = LimiterStats> + Send + Sync>>,
}

impl Drained {
    pub(super) fn new(limiter: Limiter) -> Self {
        let empty = Box::pin(async move {
            let shared = limiter.shared();
            loop {
                let mut changed = pin!(shared.changed.notified());
                changed.as_mut().enable();
                let stats = shared.stats();
                if stats.in_flight == 0 && stats.waiting == 0 {
                    return stats;
                }
                changed.await;
            }
        });
        Self { empty }
    }
}

impl Future for Drained {
    type Output = LimiterStats;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.empty.as_mut().poll(cx)
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").finish_non_exhaustive()
    }
}
