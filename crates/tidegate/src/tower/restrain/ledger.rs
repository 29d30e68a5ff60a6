//! What was asked and what was accepted, and what share to hold back.

use std::time::Duration;

use tokio::time::Instant;

/// Two minutes (the SRE book's) in steps of five seconds.
const BUCKETS: usize = 24;

/// Fewer requests than this are not a share of anything: by the formula alone one refusal would refuse every second call.
const LEAST: u64 = 10;

/// Beyer et al., "Site Reliability Engineering", ch. 21 ("Handling Overload"): the share of calls that a client refuses
/// itself, max(0, (requests − K × accepts) / (requests + 1)).
fn share(requests: u64, accepts: u64, k: f64) -> f64 {
    ((requests as f64 - k * accepts as f64) / (requests as f64 + 1.0)).max(0.0)
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which step of time it holds, counted from the ledger's begin.
    step: u64,
    requests: u64,
    accepts: u64,
}

/// Counts over a sliding window, in a fixed number of buckets.
#[derive(Debug)]
pub(super) struct Ledger {
    begin: Instant,
    length: Duration,
    buckets: [Bucket; BUCKETS],
    /// When a call last went through.
    passed: Option<Instant>,
}

impl Ledger {
    pub(super) fn new(window: Duration) -> Self {
        let length = (window / BUCKETS as u32).max(Duration::from_millis(1));
        Self { begin: Instant::now(), length, buckets: [Bucket::default(); BUCKETS], passed: None }
    }

    fn step(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.begin);
        // Beginning at 1: 0 is a bucket that was never used.
        u64::try_from(since.as_nanos() / self.length.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub(super) fn add(&mut self, now: Instant, accepted: bool) {
        let step = self.step(now);
        let Some(bucket) = self.buckets.get_mut((step % BUCKETS as u64) as usize) else { return };
        if bucket.step != step {
            *bucket = Bucket { step, ..Bucket::default() };
        }
        bucket.requests += 1;
        bucket.accepts += u64::from(accepted);
    }

    /// Requests and accepts of the window.
    fn sums(&self, now: Instant) -> (u64, u64) {
        let step = self.step(now);
        self.buckets
            .iter()
            .filter(|bucket| bucket.step > 0 && step - bucket.step.min(step) < BUCKETS as u64)
            .fold((0, 0), |(requests, accepts), bucket| {
                (requests + bucket.requests, accepts + bucket.accepts)
            })
    }

    /// The share of calls that is to be refused now.
    pub(super) fn share(&self, now: Instant, k: f64) -> f64 {
        let (requests, accepts) = self.sums(now);
        if requests < LEAST { 0.0 } else { share(requests, accepts, k) }
    }

    /// Whether a call goes through, given a number from [0, 1). One goes through in any case when none has for `probe`.
    pub(super) fn passes(&mut self, now: Instant, k: f64, probe: Duration, chance: f64) -> bool {
        let probes = self.passed.is_none_or(|passed| now.saturating_duration_since(passed) >= probe);
        let passes = probes || chance >= self.share(now, k);
        if passes {
            self.passed = Some(now);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_share_is_the_books() {
        assert_eq!(share(0, 0, 2.0), 0.0);
        assert_eq!(share(100, 50, 2.0), 0.0);
        assert_eq!(share(99, 0, 2.0), 0.99);
        assert_eq!(share(199, 50, 2.0), 99.0 / 200.0);
        assert_eq!(share(10, 100, 2.0), 0.0);
    }

    #[derive(Clone, Debug)]
    struct Event {
        pause: u64,
        accepted: bool,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = (0_u64..20_000, any::<bool>()).prop_map(|(pause, accepted)| Event { pause, accepted });
        prop::collection::vec(event, 0..200)
    }

    proptest! {
        /// Against a list of all events: what the window of 120 s holds for sure, and at most that and one step more.
        #[test]
        fn the_window_is_the_naive_models(events in events()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _entered = runtime.enter();
            let mut ledger = Ledger::new(Duration::from_secs(120));
            let (mut now, mut all) = (ledger.begin, Vec::new());
            for event in events {
                now += Duration::from_millis(event.pause);
                ledger.add(now, event.accepted);
                all.push((now, event.accepted));
                let count = |window: u64| {
                    let recent = all.iter().filter(|(at, _)| now - *at < Duration::from_secs(window));
                    recent.fold((0, 0), |(asked, ok), (_, accepted)| (asked + 1, ok + u64::from(*accepted)))
                };
                let (least, sums, most) = (count(115), ledger.sums(now), count(120));
                prop_assert!(least.0 <= sums.0 && sums.0 <= most.0, "{least:?} {sums:?} {most:?}");
                prop_assert!(least.1 <= sums.1 && sums.1 <= most.1, "{least:?} {sums:?} {most:?}");
            }
        }
    }
}
