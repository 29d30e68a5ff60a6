//! Time as a bound: how many bytes are received in the target delay.

use std::time::Duration;

/// The capacity changes only by more than this share: each change moves what senders may do, and a pace is never measured
/// twice the same. As in Flink's buffer debloating (FLIP-183, `buffer-debloat.threshold-percentages`, 25).
const THRESHOLD: f64 = 0.25;

#[derive(Debug)]
pub(super) struct Span {
    seconds: f64,
    least: u64,
    most: u64,
    capacity: u64,
    /// Windows of the pace when last looked at.
    seen: u64,
}

impl Span {
    pub(super) fn new(delay: Duration, least: u64, most: u64) -> Self {
        Self { seconds: delay.as_secs_f64(), least, most, capacity: most, seen: 0 }
    }

    /// The capacity at this pace, if it changes.
    pub(super) fn follow(&mut self, windows: u64, pace: Option<f64>) -> Option<u64> {
        if windows == self.seen {
            return None;
        }
        self.seen = windows;
        let wanted = ((pace? * self.seconds) as u64).clamp(self.least, self.most);
        let change = wanted.abs_diff(self.capacity) as f64;
        if change <= THRESHOLD * self.capacity as f64 {
            return None;
        }
        self.capacity = wanted;
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_follows_the_pace_in_steps_of_a_quarter() {
        let mut span = Span::new(Duration::from_millis(500), 1000, 100_000);
        assert_eq!(span.follow(1, Some(40_000.0)), Some(20_000));
        assert_eq!(span.follow(1, Some(80_000.0)), None, "nothing new was measured");
        assert_eq!(span.follow(2, Some(48_000.0)), None, "a fifth more is no change");
        assert_eq!(span.follow(3, Some(52_000.0)), Some(26_000));
        assert_eq!(span.follow(4, Some(1.0)), Some(1000), "never below the least");
        assert_eq!(span.follow(5, Some(1e12)), Some(100_000), "never above the most");
        assert_eq!(span.follow(6, None), None);
    }
}
