//! Who rings the shared alarms: a timer of the caller's runtime, or one thread for the whole program.
//!
//! While a timer is pending, the workers of a runtime read the clock each time they have nothing to do for a moment; and
//! whoever leans on a timer has to know that it runs there. In a line that moves fast both together cost more than all
//! that the limiter does itself. So where time is real, as it is on a runtime of several threads (tokio pauses time on
//! that of one thread only), a thread rings: for all limiters, for callers of every runtime, and waiting for none. There
//! is none before the first such line; then it sleeps while no alarm is set.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};

use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::time::Instant;

use super::alarm::BETWEEN;
use super::shared::Shared;

/// Who rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ringer {
    /// The program's thread.
    Thread,
    /// A timer on this runtime.
    Runtime(Id),
}

impl Ringer {
    /// For whoever calls this; none away from a runtime.
    #[inline]
    pub(super) fn here() -> Option<Self> {
        let handle = Handle::try_current().ok()?;
        let several = handle.runtime_flavor() == RuntimeFlavor::MultiThread;
        Some(if several && thread_runs() { Self::Thread } else { Self::Runtime(handle.id()) })
    }
}

/// What the thread has to ring, the first first: each limiter once at most, because an alarm that is set is not set again.
struct Ringing {
    set: Mutex<VecDeque<(Instant, Weak<Shared>)>>,
    first: Condvar,
}

static RINGING: Ringing = Ringing { set: Mutex::new(VecDeque::new()), first: Condvar::new() };

/// The process in which the thread was started.
pub(super) static STARTED_IN: AtomicU32 = AtomicU32::new(0);

/// Sees to it that the thread runs. False where there can be none.
fn thread_runs() -> bool {
    static RUNS: OnceLock<bool> = OnceLock::new();
    *RUNS.get_or_init(start)
}

fn start() -> bool {
    STARTED_IN.store(std::process::id(), Relaxed);
    std::thread::Builder::new().name("tidegate-alarm".to_owned()).spawn(|| RINGING.go_on()).is_ok()
}

/// The thread rings `limiter` in a while.
pub(super) fn ring_later(limiter: &Arc<Shared>) {
    // A fork takes no threads along. (Two of them, should others find out at the same moment, do no harm.)
    if STARTED_IN.load(Relaxed) != std::process::id() && !start() {
        return limiter.stop_leaning(Ringer::Thread);
    }
    let mut set = RINGING.set.lock().unwrap_or_else(PoisonError::into_inner);
    // All come as long after, so that they stand in order.
    set.push_back((Instant::now() + BETWEEN, Arc::downgrade(limiter)));
    if set.len() == 1 {
        RINGING.first.notify_one();
    }
}

impl Ringing {
    fn go_on(&self) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = set.front().map(|(at, _)| at.saturating_duration_since(Instant::now()));
            match left {
                None => set = self.first.wait(set).unwrap_or_else(PoisonError::into_inner),
                Some(left) if !left.is_zero() => {
                    set = self.first.wait_timeout(set, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(_) => {
                    let due = set.pop_front();
                    drop(set);
                    if let Some(limiter) = due.and_then(|(_, limiter)| limiter.upgrade()) {
                        ring(limiter);
                    }
                    set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Wakes who is due. This may be the limiter's last handle, and what is dropped with it foreign: what panics there ends no
/// alarm of others.
fn ring(limiter: Arc<Shared>) {
    limiter.rouse_older().run();
    let _ = catch_unwind(AssertUnwindSafe(|| drop(limiter)));
}
