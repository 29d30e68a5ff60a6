//! [`Flow`]: what the bodies of one HTTP/2 connection have consumed, for whoever gives credit.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use h2::FlowControl;
use slab::Slab;
use tokio::sync::Notify;

use super::inbox::Inbox;

/// What the request bodies of one connection have consumed, and whether some of them want more.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// What somebody has read, and what nobody had before its body was dropped.
    consumed: AtomicU64,
    dropped: AtomicU64,
    /// Bodies that are over and held something that nobody has read.
    left: AtomicUsize,
    look_at: AtomicU64,
    total: AtomicU64,
    bodies: AtomicUsize,
    hungry: AtomicUsize,
    /// Counts the times that were taken, from 1, and the bodies that consumed something since the last.
    round: AtomicU64,
    readers: AtomicUsize,
    /// Counts the times that it was [looked](Self::looked), from 1.
    looks: AtomicU64,
    news: Notify,
    streams: Mutex<Slab<Coming>>,
}

/// The credit of a stream, what has come of its body, and whether that is read.
#[derive(Debug)]
struct Coming {
    credit: FlowControl,
    inbox: Arc<Mutex<Inbox>>,
    reading: Arc<Reading>,
}

/// Is a body read?
#[derive(Debug, Default)]
struct Reading {
    /// Somebody reads it and there was nothing to be read.
    hungry: AtomicBool,
    /// After which look it consumed something last.
    look: AtomicU64,
}

/// What was consumed in a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes that somebody has read, and of how many bodies.
    pub(crate) read: u64,
    pub(crate) readers: usize,
    /// Bytes that nobody had read when their bodies were dropped, and how many of these are over.
    pub(crate) dropped: u64,
    pub(crate) left: usize,
}

/// What nobody reads: the bytes of each body that holds some, or may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unread(pub(crate) Vec<u64>);

impl Unread {
    /// All of it.
    pub(crate) fn held(&self) -> u64 {
        self.0.iter().fold(0, |sum, held| sum.saturating_add(*held))
    }
}

/// A body that may hold bytes of its connection.
#[derive(Debug)]
pub(crate) struct Flowing {
    flow: Arc<Flow>,
    reading: Arc<Reading>,
    dropped: bool,
    key: usize,
    /// The round in which it consumed something last.
    round: AtomicU64,
}

impl Flow {
    /// What was consumed since the last time: tells `more`, which says after how many bytes it wants to hear of it again.
    pub(crate) fn take(&self, more: impl FnOnce(Taken) -> u64) {
        self.round.fetch_add(1, Relaxed);
        let (read, dropped) = (self.consumed.swap(0, SeqCst), self.dropped.swap(0, SeqCst));
        let (readers, left) = (self.readers.swap(0, Relaxed), self.left.swap(0, SeqCst));
        let taken = Taken { read, readers, dropped, left };
        let mark = more(taken).max(1);
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

    /// Some time has passed.
    pub(crate) fn looked(&self) {
        self.looks.fetch_add(1, Relaxed);
    }

    /// What bodies hold that were not read since the look before the last, nor want more now.
    pub(crate) fn unread(&self) -> Unread {
        let now = self.looks.load(Relaxed);
        self.those(|reading| reading.look.load(Relaxed).saturating_add(1) < now)
    }

    /// The same of all that want no more now: nobody has consumed anything since the last look.
    pub(crate) fn unwanted(&self) -> Unread {
        self.those(|_| true)
    }

    fn those(&self, are: impl Fn(&Reading) -> bool) -> Unread {
        let streams = self.streams();
        let of = streams
            .iter()
            .filter(|(_, Coming { reading, .. })| !reading.hungry.load(Relaxed) && are(reading));
        Unread(of.map(|(_, Coming { credit, .. })| credit.used_capacity() as u64).collect())
    }

    /// One more body, of the stream with this credit, and what has come of it.
    pub(super) fn body(self: &Arc<Self>, credit: FlowControl, inbox: Arc<Mutex<Inbox>>) -> Flowing {
        self.bodies.fetch_add(1, Relaxed);
        let reading = Arc::<Reading>::default();
        reading.look.store(self.looks.load(Relaxed), Relaxed);
        let key = self.streams().insert(Coming { credit, inbox, reading: Arc::clone(&reading) });
        Flowing { flow: Arc::clone(self), reading, dropped: false, key, round: AtomicU64::new(0) }
    }

    /// The streams' windows were lowered: says what that made due. h2 looks at a stream's window only when bytes of it are
    /// consumed; one whose client may send nothing would wait for ever.
    pub(crate) fn lowered(&self) {
        for (_, Coming { credit, .. }) in self.streams().iter_mut() {
            // It may be over.
            let _ = credit.release_capacity(0);
        }
    }

    /// Packs what bodies hold that nobody reads. One that is being read at this moment needs none.
    pub(crate) fn pack(&self) {
        for (_, Coming { inbox, .. }) in self.streams().iter() {
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
    /// So many bytes are consumed. To be said before they are given back: else they could be given anew, be said to have gone
    /// after a window was lowered, and count as used up of what it had been before.
    pub(super) fn consumed(&self, bytes: usize) {
        let look = self.flow.looks.load(Relaxed);
        if self.reading.look.load(Relaxed) != look {
            self.reading.look.store(look, Relaxed);
        }
        let round = self.flow.round.load(Relaxed);
        if self.round.load(Relaxed) != round {
            self.round.store(round, Relaxed);
            self.flow.readers.fetch_add(1, Relaxed);
        }
        self.flow.total.fetch_add(bytes as u64, Relaxed);
        let consumed = self.flow.consumed.fetch_add(bytes as u64, SeqCst) + bytes as u64;
        // Not only who crosses the mark: it may just be lowered below what there is already.
        if consumed >= self.flow.look_at.load(SeqCst) {
            self.flow.news.notify_one();
        }
    }

    /// So many bytes will be given back that nobody has read. Once this is dropped others need less room beside them.
    pub(super) fn drops(&mut self, bytes: usize) {
        if bytes > 0 {
            self.dropped = true;
            self.flow.total.fetch_add(bytes as u64, Relaxed);
            self.flow.dropped.fetch_add(bytes as u64, SeqCst);
        }
    }

    /// Somebody reads it; `hungry` says that there was nothing to be read.
    pub(super) fn read(&mut self, hungry: bool) {
        if hungry != self.reading.hungry.load(Relaxed) {
            self.reading.hungry.store(hungry, Relaxed);
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
        if self.dropped {
            self.flow.left.fetch_add(1, SeqCst);
            self.flow.news.notify_one();
        }
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
        Flowing {
            flow: Arc::clone(flow),
            reading: Arc::default(),
            dropped: false,
            key: usize::MAX,
            round: AtomicU64::new(0),
        }
    }

    #[test]
    fn whoever_crosses_the_mark_tells() {
        let flow = Arc::<Flow>::default();
        let body = body(&flow);
        flow.take(|_| 100);
        body.consumed(99);
        assert!(!hears(&flow));
        body.consumed(1);
        assert!(hears(&flow) && !hears(&flow));
        flow.take(|taken| {
            assert_eq!(taken, Taken { read: 100, readers: 1, dropped: 0, left: 0 });
            100
        });
        assert!(!hears(&flow), "it was taken");
    }

    /// Between what is taken and the new mark somebody consumes as much as that, by the old one: nobody may consume any more.
    #[test]
    fn what_is_consumed_while_the_mark_is_lowered_is_told() {
        let flow = Arc::<Flow>::default();
        let body = body(&flow);
        flow.take(|_| 1000);
        flow.take(|_| {
            body.consumed(500);
            400
        });
        assert!(hears(&flow));
        assert_eq!(flow.total(), 500);
    }
}
