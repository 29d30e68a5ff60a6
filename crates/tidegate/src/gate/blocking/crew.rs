//! The threads of a gate: never more than there are permits.
//!
//! A thread stands by before it gives its permit back, so whoever is admitted by that finds a thread which stands by, and
//! starts none. Hence those that do not stand by hold a permit each. Threads come from the runtime's own, and go back
//! to it when they have stood by in vain for a moment.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Id};

use super::next::woken_by;
use super::step::Loaded;

/// How long a thread stands by: long against the time in which a caller that got its result asks again, short
/// because the end of the runtime waits for it.
const LINGER: Duration = Duration::from_millis(10);

/// The threads of one gate.
#[derive(Debug, Default)]
pub(super) struct Crew {
    /// Those that stand by, the last to come last: it is the next to be called.
    standing_by: Mutex<Vec<Arc<Berth>>>,
}

/// Where a thread stands by.
#[derive(Debug)]
struct Berth {
    runtime: Id,
    given: Mutex<Option<Loaded>>,
    called: Condvar,
}

impl Crew {
    /// Brings `piece` to a thread of `runtime`: one that stands by, or a new one.
    pub(super) fn start(self: &Arc<Self>, piece: Loaded, runtime: &Handle) {
        let id = runtime.id();
        let berth = {
            let mut standing_by = lock(&self.standing_by);
            let last = standing_by.iter().rposition(|berth| berth.runtime == id);
            last.map(|place| standing_by.remove(place))
        };
        match berth {
            Some(berth) => {
                *lock(&berth.given) = Some(piece);
                berth.called.notify_one();
            }
            None => {
                let crew = Arc::clone(self);
                // A runtime that is shutting down drops the piece, which says so in its drop.
                drop(runtime.spawn_blocking(move || crew.serve(piece)));
            }
        }
    }

    /// A thread's way: one piece after the other.
    fn serve(self: &Arc<Self>, first: Loaded) {
        let Ok(runtime) = Handle::try_current() else { return };
        let berth = Berth { runtime: runtime.id(), given: Mutex::new(None), called: Condvar::new() };
        let duty = Duty { crew: self, berth: Arc::new(berth) };
        let mut next = Some(first);
        while let Some(piece) = next {
            next = self.work(piece, &duty.berth, &runtime);
        }
    }

    /// One piece, and what comes next. The permit goes back before the caller hears of the result, so that it finds
    /// the capacity free, or handed on.
    fn work(self: &Arc<Self>, piece: Loaded, berth: &Arc<Berth>, runtime: &Handle) -> Option<Loaded> {
        let step = piece.arrive()?;
        let permit = step.perform();
        lock(&self.standing_by).push(Arc::clone(berth));
        let woken = permit.and_then(|(permit, outcome)| woken_by(|| permit.finish(outcome)));
        // Wakers, and the drop of a result that nobody takes, are foreign code, which must not take this thread along:
        // it may have been given somebody else's work by now.
        drop(catch_unwind(AssertUnwindSafe(move || step.publish())));
        match woken.and_then(|step| step.claim()) {
            None => self.stand_by(berth),
            Some(next) => match self.withdraw(berth) {
                None => Some(next),
                Some(given) => {
                    self.start(next, runtime);
                    Some(given)
                }
            },
        }
    }

    /// Stands by for a moment.
    fn stand_by(&self, berth: &Arc<Berth>) -> Option<Loaded> {
        let waiting = berth.called.wait_timeout_while(lock(&berth.given), LINGER, |given| given.is_none());
        let given = waiting.unwrap_or_else(PoisonError::into_inner).0.take();
        given.or_else(|| self.withdraw(berth))
    }

    /// Stands by no more; or takes what it was called for.
    fn withdraw(&self, berth: &Arc<Berth>) -> Option<Loaded> {
        if self.strike_out(berth) {
            return None;
        }
        // Called already; what for comes at any moment.
        let waiting = berth.called.wait_while(lock(&berth.given), |given| given.is_none());
        waiting.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// False if it does not stand by.
    fn strike_out(&self, berth: &Arc<Berth>) -> bool {
        let mut standing_by = lock(&self.standing_by);
        let place = standing_by.iter().rposition(|other| Arc::ptr_eq(other, berth));
        place.map(|place| standing_by.remove(place)).is_some()
    }
}

/// A thread in service. If foreign code (a waker that panics) takes it along all the same, nobody calls it in vain: what
/// it was given goes with its berth, and says so.
struct Duty<'c> {
    crew: &'c Crew,
    berth: Arc<Berth>,
}

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        self.crew.strike_out(&self.berth);
    }
}

/// Locks, also after a panic elsewhere. `std`'s own mutex: a condition variable goes with no other.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
