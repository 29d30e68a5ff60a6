//! How slowly bytes may move before the peer counts as gone.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::timer::Timer;

/// What is asked of a peer that moves bytes. Only the time in which we wait for it counts: a stream that is
/// slow because its source is slow is not the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaceSettings {
    /// The longest time without a byte: 30 s, about as long as a mobile network takes to come back.
    pub stall: Duration,
    /// The least bytes a second once `grace` is over: 1 KiB/s, a tenth of what the slowest network gives.
    pub rate: u64,
    /// How long a peer may be slower than `rate`: 10 s. One stall counts for no more than half of this: whoever comes
    /// back from one is not judged by the first bytes.
    pub grace: Duration,
}

impl Default for PaceSettings {
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), rate: 1024, grace: Duration::from_secs(10) }
    }
}

/// The peer moved too few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooSlow {
    /// Nothing for the whole stall time.
    #[error("no byte moved for {0:?}")]
    Stalled(Duration),
    /// Less than the least rate.
    #[error("fewer than {0} bytes a second")]
    Rate(u64),
}

/// Watches one direction of one stream. Costs no clock reading while bytes flow freely.
#[derive(Debug)]
pub struct Pace {
    settings: PaceSettings,
    waiting_since: Option<Instant>,
    waited: Duration,
    bytes: u64,
    timer: Timer,
}

impl Pace {
    /// A watch that has seen nothing yet.
    #[must_use]
    pub fn new(settings: PaceSettings) -> Self {
        Self { settings, waiting_since: None, waited: Duration::ZERO, bytes: 0, timer: Timer::default() }
    }

    /// Bytes moved.
    ///
    /// # Errors
    /// If they were too few for the time they took.
    pub fn moved(&mut self, bytes: u64) -> Result<(), TooSlow> {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed().min(self.settings.grace / 2);
            if self.waited > self.settings.grace {
                if (self.bytes as f64) < self.settings.rate as f64 * self.waited.as_secs_f64() {
                    return Err(TooSlow::Rate(self.settings.rate));
                }
                // The past counts half, so that a fast start does not buy an hour of trickling.
                if self.waited > 2 * self.settings.grace {
                    self.waited /= 2;
                    self.bytes /= 2;
                }
            }
        }
        Ok(())
    }

    /// Nothing can move now; ready when that has lasted too long.
    pub fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let stall = self.settings.stall;
        self.timer.poll_over(since, stall, cx).map(|()| TooSlow::Stalled(stall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{advance, timeout};

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_found_although_the_timer_was_set_earlier() {
        let mut pace = Pace::new(PaceSettings::default());
        let early = timeout(Duration::from_secs(29), poll_fn(|cx| pace.poll_stalled(cx))).await;
        assert!(early.is_err());
        pace.moved(100_000).unwrap();
        let started = Instant::now();
        let slow = poll_fn(|cx| pace.poll_stalled(cx)).await;
        assert_eq!(slow, TooSlow::Stalled(Duration::from_secs(30)));
        assert!(started.elapsed() >= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_from_one_stall_is_not_judged_by_the_first_bytes() {
        let mut pace = Pace::new(PaceSettings::default());
        let _ = timeout(Duration::from_secs(29), poll_fn(|cx| pace.poll_stalled(cx))).await;
        pace.moved(4096).unwrap();
        // A few bytes after each of three stalls are no coming back.
        let mut pace = Pace::new(PaceSettings::default());
        let mut stalls = 0;
        loop {
            let _ = timeout(Duration::from_secs(29), poll_fn(|cx| pace.poll_stalled(cx))).await;
            stalls += 1;
            if pace.moved(100).is_err() {
                break;
            }
        }
        assert_eq!(stalls, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_found_after_the_grace() {
        let mut pace = Pace::new(PaceSettings::default());
        let mut seconds = 0;
        loop {
            let _ = timeout(Duration::from_secs(1), poll_fn(|cx| pace.poll_stalled(cx))).await;
            seconds += 1;
            if pace.moved(1).is_err() {
                break;
            }
        }
        assert!((10..=12).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_slowness_is_not_the_peers() {
        let mut pace = Pace::new(PaceSettings::default());
        for _ in 0..100 {
            advance(Duration::from_secs(5)).await;
            pace.moved(1).unwrap();
        }
    }
}
