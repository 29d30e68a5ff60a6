//! [`Spread`]: moments to come back while nothing better is known.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Moments from 1 s to 5 s, each another than those before: multiples of the golden ratio fill an interval evenly
/// however many there are (Weyl), so that those who were refused together do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Spread(AtomicU64);

/// 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Spread {
    /// The next one.
    pub(crate) fn next(&self) -> Duration {
        let share = self.0.fetch_add(STEP, Relaxed) >> 52; // of 4096
        Duration::from_millis(1000 + share * 4000 / 4096)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_differ_and_fill_their_interval() {
        let spread = Spread::default();
        let mut moments: Vec<_> = (0..1000).map(|_| spread.next().as_millis()).collect();
        assert!(moments.iter().all(|moment| (1000..5000).contains(moment)));
        moments.sort_unstable();
        assert!(moments.windows(2).all(|two| two[1] - two[0] < 20));
    }
}
