//! [`Unread`]: answers that lie before their clients, so that they leave the limiter.
//!
//! A request is in flight until the origin's end has been read. An answer larger than the buffers on its way ends only
//! when its client has read it, so sixteen clients that do not read would freeze a limit of sixteen for as long as
//! the stall timer lets them. Such an answer says nothing about the origin's load: like the endless ones it goes into
//! the count of streams, which is bounded and not sampled.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tidegate::{Limiter, Permit, Readiness};

/// Looks at which an answer must be found in the same place until it counts as unread. With a look every 250 ms that
/// is 1 s: longer than round trips and bursts of a client that reads, and short against the 30 s of the stall timer.
const LOOKS: u32 = 4;

/// The answers that may turn out to be unread: as many as there are permits for them, at most.
#[derive(Debug, Default)]
pub(super) struct Unread(Mutex<Slab<Entry>>);

#[derive(Debug)]
struct Entry {
    held: Arc<Held>,
    turn: u64,
    looks: u32,
}

/// A permit that an answer holds, or the stream's that has taken its place.
#[derive(Debug)]
struct Held {
    permit: Mutex<(Option<Permit>, Option<Permit>)>,
    /// Even while the origin is waited for, odd while the client is.
    turn: AtomicU64,
}

/// An answer under observation; dropping it ends that.
#[derive(Debug)]
pub(super) struct Watched {
    unread: Arc<Unread>,
    held: Arc<Held>,
    key: usize,
}

impl Unread {
    /// Observes an answer whose client is waited for now.
    pub(super) fn watch(self: &Arc<Self>, permit: Permit) -> Watched {
        let held = Arc::new(Held { permit: Mutex::new((Some(permit), None)), turn: AtomicU64::new(1) });
        let key = lock(&self.0).insert(Entry { held: Arc::clone(&held), turn: 1, looks: 0 });
        Watched { unread: Arc::clone(self), held, key }
    }

    /// Looks once at all. Those that lie unread give their permits back and become `streams`; **when full**, they keep
    /// their permits, so that they stay counted.
    pub(super) fn look(&self, streams: &Limiter) {
        // Those go back after the locks, since whoever waits for one is woken then.
        let mut back = Vec::new();
        for (_, entry) in lock(&self.0).iter_mut() {
            let turn = entry.held.turn.load(Relaxed);
            if turn % 2 == 0 || turn != entry.turn {
                (entry.turn, entry.looks) = (turn, 0);
                continue;
            }
            entry.looks = entry.looks.saturating_add(1);
            if entry.looks < LOOKS {
                continue;
            }
            let mut held = lock(&entry.held.permit);
            if held.0.is_some() {
                if let Some(stream) = place_if_free(streams) {
                    held.1 = Some(stream);
                    back.extend(held.0.take());
                }
            }
        }
        back.into_iter().for_each(Permit::ignore);
    }
}

/// A place among the streams for an answer that keeps its permit if there is none: nobody is refused, so that a dry run,
/// which would give it one all the same, has nothing to count.
pub(super) fn place_if_free(streams: &Limiter) -> Option<Permit> {
    if matches!(streams.readiness(), Readiness::Ready { .. }) { streams.try_acquire(1).ok() } else { None }
}

impl Watched {
    /// The client asks for more: the origin is waited for.
    pub(super) fn asked(&self) {
        self.pass(0);
    }

    /// There is more: the client is waited for.
    pub(super) fn given(&self) {
        self.pass(1);
    }

    // One task polls an answer, so nobody else writes.
    fn pass(&self, to: u64) {
        let turn = self.held.turn.load(Relaxed);
        if turn % 2 != to {
            self.held.turn.store(turn.wrapping_add(1), Relaxed);
        }
    }

    /// The permit, unless it went back already.
    pub(super) fn take(&self) -> Option<Permit> {
        lock(&self.held.permit).0.take()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = lock(&self.unread.0).try_remove(self.key);
    }
}

// Nothing that can panic is done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_flight(limiter: &Limiter) -> u64 {
        limiter.stats().in_flight
    }

    #[test]
    fn who_does_not_read_becomes_a_stream() {
        let (limiter, streams, unread) = (Limiter::fixed(3), Limiter::fixed(1), Arc::<Unread>::default());
        let watch = || unread.watch(limiter.try_acquire(1).unwrap());
        let (reads, waits, lies) = (watch(), watch(), watch());
        waits.asked();
        for _ in 0..LOOKS {
            assert_eq!((in_flight(&limiter), in_flight(&streams)), (3, 0));
            reads.asked();
            reads.given();
            unread.look(&streams);
        }
        assert_eq!((in_flight(&limiter), in_flight(&streams)), (2, 1));
        assert!(lies.take().is_none() && reads.take().is_some());
        // No place among the streams: it stays counted where it is.
        waits.given();
        (0..=LOOKS).for_each(|_| unread.look(&streams));
        assert_eq!((in_flight(&limiter), in_flight(&streams)), (1, 1));
        drop((reads, waits, lies));
        assert_eq!((in_flight(&limiter), in_flight(&streams)), (0, 0));
        assert!(lock(&unread.0).is_empty());
    }
}
