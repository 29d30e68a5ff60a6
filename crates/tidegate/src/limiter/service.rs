//! Service times by kind: median and p99, from a histogram that forgets.

use std::time::Duration;

use tidegate_control::sample::KINDS;

/// Buckets to an octave: neighbours differ by 19 %, fine enough for a bound.
const PER_OCTAVE: f64 = 4.0;
/// Buckets: 2⁴⁰ ns are 18 minutes.
const BUCKETS: usize = 160;
/// When a kind has this many, all its counts are halved: the last two thousand or so decide.
const MEMORY: u32 = 2048;
/// A p99 needs this many to stand on.
const ENOUGH: u32 = 20;

/// Median and p99 of a kind's service time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceTime {
    /// Half of the work takes less. `None` before any was measured.
    pub p50: Option<Duration>,
    /// All but one in a hundred take less. `None` before twenty were measured.
    pub p99: Option<Duration>,
}

/// The service times of every kind.
#[derive(Debug)]
pub(super) struct ServiceTimes {
    kinds: [Kind; KINDS],
}

#[derive(Debug)]
struct Kind {
    counts: [u32; BUCKETS],
    total: u32,
}

impl ServiceTimes {
    pub(super) fn new() -> Self {
        Self { kinds: std::array::from_fn(|_| Kind { counts: [0; BUCKETS], total: 0 }) }
    }

    /// Work of `kind` took `elapsed` nanoseconds.
    pub(super) fn add(&mut self, kind: u8, elapsed: u64) {
        let Some(kind) = self.kinds.get_mut(usize::from(kind)) else { return };
        if let Some(count) = kind.counts.get_mut(bucket(elapsed).min(BUCKETS - 1)) {
            *count += 1;
            kind.total += 1;
        }
        if kind.total >= MEMORY {
            kind.counts.iter_mut().for_each(|count| *count /= 2);
            kind.total = kind.counts.iter().sum();
        }
    }

    /// What `kind` takes.
    pub(super) fn get(&self, kind: u8) -> ServiceTime {
        let Some(kind) = self.kinds.get(usize::from(kind)) else { return ServiceTime::default() };
        ServiceTime {
            p50: kind.quantile(50, 1).map(Duration::from_nanos),
            p99: kind.quantile(99, ENOUGH).map(Duration::from_nanos),
        }
    }
}

/// Where `elapsed` counts: ⌊log₂ · [`PER_OCTAVE`]⌋, for each completion, and so without a logarithm.
fn bucket(elapsed: u64) -> usize {
    /// Where the second to the fourth part of an octave begin, as the fraction of a float: 2^¼, 2^½, 2^¾.
    const PARTS: [u64; 3] = [0x3_06fe_0a31_b716, 0x6_a09e_667f_3bcd, 0xa_e89f_995a_d3ae];
    let bits = (elapsed.max(1) as f64).to_bits();
    let (octave, fraction) = ((bits >> 52) - 1023, bits & ((1 << 52) - 1));
    octave as usize * 4 + PARTS.iter().filter(|part| fraction >= **part).count()
}

impl Kind {
    /// The upper edge of the bucket that holds the given percentile.
    fn quantile(&self, percent: u64, enough: u32) -> Option<u64> {
        if self.total < enough {
            return None;
        }
        let rank = (u64::from(self.total) * percent).div_ceil(100);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        Some(((bucket + 1) as f64 / PER_OCTAVE).exp2() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_kind_and_within_a_bucket() {
        let mut times = ServiceTimes::new();
        for millis in 1..=1000 {
            times.add(1, millis * 1_000_000);
        }
        let one = times.get(1);
        let p50 = one.p50.unwrap().as_millis();
        let p99 = one.p99.unwrap().as_millis();
        assert!((500..=620).contains(&p50), "{p50}");
        assert!((990..=1250).contains(&p99), "{p99}");
        assert_eq!(times.get(0), ServiceTime::default());
        assert_eq!(times.get(200), ServiceTime::default());
    }

    #[test]
    fn a_bucket_is_the_logarithm_s() {
        let log = |elapsed: u64| ((elapsed as f64).log2() * PER_OCTAVE) as usize;
        let mut all: Vec<u64> = (1..200_000).collect();
        all.extend((0..64).flat_map(|bit| [0, 1, 3, 7].map(|more| (1_u64 << bit).wrapping_add(more))));
        all.extend((1..60_000).map(|step: u64| step.pow(3) + step));
        assert!(all.into_iter().all(|elapsed| bucket(elapsed) == log(elapsed)));
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, 256));
    }

    #[test]
    fn the_past_is_forgotten() {
        let mut times = ServiceTimes::new();
        (0..2000).for_each(|_| times.add(0, 1_000));
        (0..20_000).for_each(|_| times.add(0, 1_000_000));
        assert!(times.get(0).p50.unwrap().as_micros() > 900);
        times.add(0, u64::MAX);
        times.add(0, 0);
    }
}
