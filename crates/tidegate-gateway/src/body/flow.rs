//! [`Flow`]: what the bodies of one HTTP/2 connection have consumed, for whoever gives credit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use h2::FlowControl;
use slab::Slab;
use tokio::sync::Notify;

use super::inbox::Inbox;

/// What the request bodies of one connection have consumed, and whether some of them want more.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    consumed: AtomicU64,
    look_at: AtomicU64,
    total: AtomicU64,
    bodies: AtomicUsize,
    hungry: AtomicUsize,
    /// Counts the times that were taken, from 1, and the bodies that consumed something since the last.
    round: AtomicU64,
    readers: AtomicUsize,
    news: Notify,
    streams: Mutex<Slab<Coming>>,
}

/// The credit of a stream, and what has come of its body.
type Coming = (FlowControl, Arc<Mutex<Inbox>>);

/// A body that may hold bytes of its connection.
#[derive(Debug)]
pub(crate) struct Flowing {
    flow: Arc<Flow>,
    hungry: bool,
    key: usize,
    /// The round in which it consumed something last.
    round: AtomicU64,
}

impl Flow {
    /// Bytes consumed since the last time, and by how many bodies: tells `more`, which says after how many it wants to hear
    /// of it again.
    pub(crate) fn take(&self, more: impl FnOnce(u64, usize) -> u64) {
        self.round.fetch_add(1, Relaxed);
        let (bytes, readers) = (self.consumed.swap(0, SeqCst), self.readers.swap(0, Relaxed));
        let mark = more(bytes, readers).max(1);
        self.look_at.store(mark, SeqCst);
        // Meanwhile others may have consumed as much, by the mark that was. They count before they look at the mark, and this
        // looks at what they counted after it has set it: one of both sees it.
        if self.consumed.load(SeqCst) >= mark {
            self.news.notify_one();
        }
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

    /// Bytes that have come of all bodies, and that nobody has consumed.
    pub(crate) fn held(&self) -> u64 {
        self.streams().iter().map(|(_, (stream, _))| stream.used_capacity() as u64).sum()
    }

    /// One more body, of the stream with this credit, and what has come of it.
    pub(super) fn body(self: &Arc<Self>, stream: FlowControl, inbox: Arc<Mutex<Inbox>>) -> Flowing {
        self.bodies.fetch_add(1, Relaxed);
        let key = self.streams().insert((stream, inbox));
        Flowing { flow: Arc::clone(self), hungry: false, key, round: AtomicU64::new(0) }
    }

    /// The streams' windows were lowered: says what that made due. h2 looks at a stream's window only when bytes of it are
    /// consumed; one whose client may send nothing would wait for ever.
    pub(crate) fn lowered(&self) {
        for (_, (stream, _)) in self.streams().iter_mut() {
            // It may be over.
            let _ = stream.release_capacity(0);
        }
    }

    /// Packs what bodies hold that nobody reads. One that is being read at this moment needs none.
    pub(crate) fn pack(&self) {
        for (_, (_, inbox)) in self.streams().iter() {
            if let Ok(mut inbox) = inbox.try_lock() {
                inbox.pack();
            }
        }
    }

    // Under it no body ends, and the one that h2 might wake is the task that asks.
    fn streams(&self) -> MutexGuard<'_, Slab<Coming>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flowing {
    /// So many bytes were consumed.
    pub(super) fn consumed(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.flow.total.fetch_add(bytes, Relaxed);
        let round = self.flow.round.load(Relaxed);
        if self.round.load(Relaxed) != round {
            self.round.store(round, Relaxed);
            self.flow.readers.fetch_add(1, Relaxed);
        }
        let consumed = self.flow.consumed.fetch_add(bytes, SeqCst) + bytes;
        // Not only who crosses the mark: it may just be lowered below what there is already.
        if consumed >= self.flow.look_at.load(SeqCst) {
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
        let stream = self.flow.streams().try_remove(self.key);
        drop(stream);
        self.flow.bodies.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn hears(flow: &Flow) -> bool {
        pin!(flow.enough()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn body(flow: &Arc<Flow>) -> Flowing {
        flow.bodies.fetch_add(1, Relaxed);
        Flowing { flow: Arc::clone(flow), hungry: false, key: usize::MAX, round: AtomicU64::new(0) }
    }

    #[test]
    fn whoever_crosses_the_mark_tells() {
        let flow = Arc::<Flow>::default();
        let body = body(&flow);
        flow.take(|_, _| 100);
        body.consumed(99);
        assert!(!hears(&flow));
        body.consumed(1);
        assert!(hears(&flow) && !hears(&flow));
        flow.take(|bytes, readers| {
            assert_eq!((bytes, readers), (100, 1));
            100
        });
        assert!(!hears(&flow), "it was taken");
    }

    /// Between what is taken and the new mark somebody consumes as much as that, by the old one: nobody may consume any more.
    #[test]
    fn what_is_consumed_while_the_mark_is_lowered_is_told() {
        let flow = Arc::<Flow>::default();
        let body = body(&flow);
        flow.take(|_, _| 1000);
        flow.take(|_, _| {
            body.consumed(500);
            400
        });
        assert!(hears(&flow));
        assert_eq!(flow.total(), 500);
    }
}
