//! How slowly a peer may take its bytes before it counts as gone.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::clock::nanos;

/// What is asked of a peer that takes bytes. Only time counts in which somebody waits for it: a stream that is slow because
/// its source is slow is not the peer's fault.
///
/// ```
/// use std::time::Duration;
/// use tidegate::writer::Progress;
///
/// let patient = Progress::default().longest_stall(Duration::from_secs(120)).least_rate(0);
/// assert_eq!(patient.grace, Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The longest time without a byte: 30 s, about as long as a mobile network takes to come back.
    pub longest_stall: Duration,
    /// The least bytes a second once `grace` is over: 1 KiB/s, a tenth of what the slowest network gives.
    pub least_rate: u64,
    /// How long a peer may be slower than `least_rate`: 10 s. One stall counts for no more than half of
    /// this: whoever comes back from one is not judged by the first bytes.
    pub grace: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Self { longest_stall: Duration::from_secs(30), least_rate: 1024, grace: Duration::from_secs(10) }
    }
}

impl Progress {
    /// With this longest time without a byte.
    #[must_use]
    pub const fn longest_stall(mut self, stall: Duration) -> Self {
        self.longest_stall = stall;
        self
    }

    /// With this least rate, bytes a second; 0 asks for none.
    #[must_use]
    pub const fn least_rate(mut self, rate: u64) -> Self {
        self.least_rate = rate;
        self
    }

    /// With so much time before the rate counts.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// The peer took too few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TooSlow {
    /// None for the whole of [`Progress::longest_stall`].
    Stalled(Duration),
    /// Fewer a second than [`Progress::least_rate`].
    Rate(u64),
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled(stall) => write!(f, "the peer took no byte for {stall:?}"),
            Self::Rate(rate) => write!(f, "the peer took fewer than {rate} bytes a second"),
        }
    }
}

impl Error for TooSlow {}

/// Watches one direction of one stream, in nanoseconds of its owner's clock.
#[derive(Debug)]
pub(super) struct Pace {
    asked: Progress,
    /// Somebody waits for the peer, since then.
    since: Option<u64>,
    /// Waited without a byte, before `since`.
    idle: u64,
    /// Waited before the last byte, and bytes taken: what the rate is about.
    waited: u64,
    bytes: u64,
}

impl Pace {
    pub(super) const fn new(asked: Progress) -> Self {
        Self { asked, since: None, idle: 0, waited: 0, bytes: 0 }
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// The longest stall, nanoseconds.
    pub(super) fn stall(&self) -> u64 {
        nanos(self.asked.longest_stall)
    }

    /// The peer takes nothing now, and somebody waits for it.
    pub(super) fn wait(&mut self, now: u64) -> Result<(), TooSlow> {
        self.since.get_or_insert(now);
        let over = self.stalled(now) >= self.stall();
        if over { Err(TooSlow::Stalled(self.asked.longest_stall)) } else { Ok(()) }
    }

    /// Nobody waits any more.
    pub(super) fn pause(&mut self, now: u64) {
        if let Some(since) = self.since.take() {
            let waited = now.saturating_sub(since);
            self.idle = self.idle.saturating_add(waited);
        }
    }

    /// The peer took `bytes`.
    pub(super) fn moved(&mut self, bytes: u64, now: u64) -> Result<(), TooSlow> {
        if bytes == 0 {
            return Ok(());
        }
        self.pause(now);
        let (grace, rate) = (nanos(self.asked.grace), self.asked.least_rate);
        self.waited = self.waited.saturating_add(std::mem::take(&mut self.idle).min(grace / 2));
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited > grace {
            // In u128: a rate of 2⁶⁴ over years does not overflow.
            let least = u128::from(rate) * u128::from(self.waited) / 1_000_000_000;
            if u128::from(self.bytes) < least {
                return Err(TooSlow::Rate(rate));
            }
            // The past counts half, so that a fast start does not buy an hour of trickling.
            if self.waited > grace.saturating_mul(2) {
                self.waited /= 2;
                self.bytes /= 2;
            }
        }
        Ok(())
    }

    /// How long somebody has waited for the peer without a byte, nanoseconds.
    pub(super) fn stalled(&self, now: u64) -> u64 {
        self.idle.saturating_add(self.since.map_or(0, |since| now.saturating_sub(since)))
    }

    /// When the longest stall is over, if nothing moves. A week from now if it never is.
    pub(super) fn due(&self, now: u64) -> u64 {
        let left = self.stall().saturating_sub(self.stalled(now));
        now.saturating_add(left.min(7 * 24 * 3600 * 1_000_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_stall_is_the_sum_of_the_waits_without_a_byte() {
        let mut pace = Pace::new(Progress::default());
        pace.wait(0).unwrap();
        pace.pause(20 * SECOND);
        // A hundred seconds in which nobody looked are not the peer's.
        pace.wait(120 * SECOND).unwrap();
        assert_eq!(pace.due(120 * SECOND), 130 * SECOND);
        assert_eq!(pace.wait(130 * SECOND), Err(TooSlow::Stalled(Duration::from_secs(30))));
    }

    #[test]
    fn a_byte_ends_a_stall() {
        let mut pace = Pace::new(Progress::default());
        pace.wait(0).unwrap();
        pace.moved(100_000, 29 * SECOND).unwrap();
        pace.wait(29 * SECOND).unwrap();
        assert_eq!(pace.stalled(30 * SECOND), SECOND);
    }

    #[test]
    fn who_comes_back_from_one_stall_is_not_judged_by_the_first_bytes() {
        let mut pace = Pace::new(Progress::default());
        pace.wait(0).unwrap();
        pace.moved(4096, 29 * SECOND).unwrap();
        for second in 30..100 {
            pace.wait((second - 1) * SECOND).unwrap();
            pace.moved(4096, second * SECOND).unwrap();
        }
        // A few bytes after each of three stalls are no coming back.
        let mut pace = Pace::new(Progress::default());
        let found = (1..10).find(|stall| {
            pace.wait((stall - 1) * 29 * SECOND).unwrap();
            pace.moved(100, stall * 29 * SECOND).is_err()
        });
        assert_eq!(found, Some(3));
    }

    #[test]
    fn a_trickle_is_found_after_the_grace() {
        let mut pace = Pace::new(Progress::default());
        let found = (1..100).find(|second| {
            pace.wait((second - 1) * SECOND).unwrap();
            pace.moved(100, second * SECOND).is_err()
        });
        assert_eq!(found, Some(11));
    }

    #[test]
    fn a_fast_start_does_not_buy_an_hour_of_trickling() {
        let mut pace = Pace::new(Progress::default());
        pace.moved(10 << 20, 0).unwrap();
        let found = (1..3600).find(|second| {
            pace.wait((second - 1) * SECOND).unwrap();
            pace.moved(1, second * SECOND).is_err()
        });
        assert!(found.is_some_and(|second| second < 150), "{found:?}");
    }

    #[test]
    fn our_own_slowness_is_not_the_peers() {
        let mut pace = Pace::new(Progress::default());
        for at in 0..1000 {
            pace.moved(1, at * 5 * SECOND).unwrap();
        }
    }

    #[test]
    fn without_a_rate_any_trickle_will_do() {
        let mut pace = Pace::new(Progress::default().least_rate(0));
        for second in 1..1000 {
            pace.wait((second - 1) * SECOND).unwrap();
            pace.moved(1, second * SECOND).unwrap();
        }
    }
}
