//! Chance that a test can repeat.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers evenly spread over [0, 1), from one atomic word: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). It is not for
/// secrets.
#[derive(Debug)]
pub(super) struct Chance(AtomicU64);

impl Chance {
    /// The same numbers for the same seed.
    pub(super) const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Other numbers in each process, from the keys that the standard library draws for its hash maps.
    pub(super) fn drawn() -> Self {
        Self::seeded(RandomState::new().hash_one(0_u64))
    }

    /// The next number.
    pub(super) fn next(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // 53 bits are what an f64 holds exactly.
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_even_and_repeatable() {
        let (chance, again) = (Chance::seeded(7), Chance::seeded(7));
        let mut tenths = [0_u32; 10];
        for _ in 0..10_000 {
            let number = chance.next();
            assert_eq!(number.to_bits(), again.next().to_bits());
            assert!((0.0..1.0).contains(&number));
            tenths[(number * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|share| (850..1150).contains(share)), "{tenths:?}");
        assert_ne!(Chance::drawn().next().to_bits(), Chance::drawn().next().to_bits());
    }
}
