//! [`Flow`]: what the bodies of one HTTP/2 connection have consumed, for whoever gives credit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
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
        let (bytes, readers) = (self.consumed.swap(0, Relaxed), self.readers.swap(0, Relaxed));
        self.look_at.store(more(bytes, readers).max(1), Relaxed);
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
        let consumed = self.flow.consumed.fetch_add(bytes, Relaxed) + bytes;
        // Not only who crosses the mark: it may just be lowered below what there is already.
        if consumed >= self.flow.look_at.load(Relaxed) {
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
