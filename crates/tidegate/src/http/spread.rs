//! Moments to come back while nothing better is known.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// One sequence for the whole program, so that those whom different layers refuse do not come back together.
static PLACE: AtomicU64 = AtomicU64::new(0);

/// A moment from 1 s to 5 s, another one than those before: multiples of the golden ratio fill an interval evenly
/// however many there are (Weyl).
pub(super) fn next() -> Duration {
    let share = PLACE.fetch_add(STEP, Relaxed) >> 52; // of 4096
    Duration::from_millis(1000 + share * 4000 / 4096)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn moments_differ_and_fill_their_interval() {
        let moments: HashSet<_> = (0..1000).map(|_| super::next().as_millis()).collect();
        assert!(moments.iter().all(|moment| (1000..5000).contains(moment)));
        assert!(moments.len() > 900, "{}", moments.len());
    }
}
