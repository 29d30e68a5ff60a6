//! The lab's clock: nanoseconds since a start, and waiting to a few microseconds.
//!
//! The lab measures other programs over real sockets, and a tokio timer ends on whole milliseconds, a
//! twentieth of a request of 20 ms: so its pacing threads live outside the runtime and outside its paused time.

#![allow(clippy::disallowed_methods)] // this is the one place: see above

use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The kernel wakes a thread 50 to 80 us late (its default timer slack is 50 us): so long before a moment a
/// thread stops sleeping and spins.
const SPIN: u64 = 80_000;

/// Nanoseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    date: SystemTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), date: SystemTime::now() }
    }

    pub(crate) fn now(self) -> u64 {
        nanos(self.start.elapsed())
    }

    /// A date in nanoseconds since the start; 0 if it is earlier.
    pub(crate) fn at(self, date: SystemTime) -> u64 {
        date.duration_since(self.date).map_or(0, nanos)
    }

    /// The moment `at` after the start in the runtime's terms.
    pub(crate) fn instant(self, at: Duration) -> tokio::time::Instant {
        (self.start + at).into()
    }

    /// Blocks its thread until `at`, or a little longer (the kernel's timer slack).
    pub(crate) fn sleep_until(self, at: u64) {
        std::thread::sleep(Duration::from_nanos(at.saturating_sub(self.now())));
    }

    /// Waits on `changed` until `at`, or for a notice if `at` is `None`; gives the lock back early when the
    /// moment is close, so that nobody else waits while this thread spins.
    pub(crate) fn wait_until<T>(self, at: Option<u64>, changed: &Condvar, guard: MutexGuard<'_, T>) {
        match at.map(|at| (at, at.saturating_sub(self.now()))) {
            None => drop(changed.wait(guard).unwrap_or_else(PoisonError::into_inner)),
            Some((_, left)) if left > SPIN => {
                let time = Duration::from_nanos(left - SPIN);
                drop(changed.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner));
            }
            Some((at, _)) => {
                drop(guard);
                self.spin_until(at);
            }
        }
    }

    fn spin_until(self, at: u64) {
        while self.now() < at {
            std::hint::spin_loop();
        }
    }
}

/// A duration in nanoseconds; 584 years at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The date, for what is written on the wire.
pub(crate) fn date() -> SystemTime {
    SystemTime::now()
}
