//! The one place that reads a clock.
//!
//! Monotonic time is tokio's, so that paused time in tests reaches every decision; it becomes nanoseconds since
//! the limiter was made.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Nanoseconds at which a limiter's clock starts, so that 0 can mean "not measured".
const START: u64 = 1;

/// A monotonic clock with an origin of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds since the start, never 0.
    #[cfg(not(tidegate_loom))]
    pub(crate) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// Time stands still under loom, which must see the same run twice.
    #[cfg(tidegate_loom)]
    pub(crate) fn now(&self) -> u64 {
        START
    }

    /// `instant` on this clock.
    pub(crate) fn at(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.origin)).saturating_add(START)
    }

    /// Time left until `instant`; zero when it has passed.
    #[cfg(feature = "stream")]
    pub(crate) fn until(&self, instant: Instant) -> Duration {
        Duration::from_nanos(self.at(instant).saturating_sub(self.now()))
    }

    /// The moment `at` of this clock as an instant, if it can be represented.
    pub(crate) fn instant(&self, at: u64) -> Option<Instant> {
        self.origin.checked_add(Duration::from_nanos(at.saturating_sub(START)))
    }
}

/// Nanoseconds since the Unix epoch; 0 if the system clock stands before it.
#[allow(clippy::disallowed_methods)] // this file is the clock
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos)
}

/// A duration in nanoseconds, at most `u64::MAX` (584 years).
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
