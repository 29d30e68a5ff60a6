//! The work: chunks of a megabyte that are loaded and added up, and a gauge that counts how many bytes of them exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tidegate::channel::Weigh;

/// Bytes of a chunk.
pub(crate) const BYTES: u64 = 1 << 20;
const WORDS: u64 = BYTES / 8;
/// Beyond this, chunks are counted and not kept: the version that starts everything at once needs 10 GiB. What they
/// hold is made again when it is needed, so that the work is the same.
const KEPT: u64 = 4 << 30;

/// How many bytes of chunks exist, and the most at a time.
#[derive(Default)]
pub(crate) struct Gauge {
    exist: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }
}

/// A megabyte of numbers.
pub(crate) struct Chunk {
    words: Vec<u64>,
    /// Where they come from, if they are not kept.
    seed: Option<u64>,
    gauge: Arc<Gauge>,
}

impl Chunk {
    /// A place to load into; from here on the bytes are taken.
    fn new(gauge: &Arc<Gauge>) -> Self {
        let exist = gauge.exist.fetch_add(BYTES, Relaxed) + BYTES;
        gauge.peak.fetch_max(exist, Relaxed);
        let words = if exist <= KEPT { Vec::with_capacity(WORDS as usize) } else { Vec::new() };
        Self { words, seed: None, gauge: Arc::clone(gauge) }
    }

    /// Loads a chunk. Elsewhere this would read from a disk or a network: there is room for it first, then it waits,
    /// then the numbers come.
    pub(crate) async fn load(seed: u64, gauge: &Arc<Gauge>) -> Self {
        let mut chunk = Self::new(gauge);
        tokio::task::yield_now().await;
        if chunk.words.capacity() > 0 {
            chunk.words.extend(numbers(seed));
        } else {
            chunk.seed = Some(seed);
        }
        chunk
    }

    /// Adds another chunk up with this one.
    pub(crate) fn add(mut self, other: &Self) -> Self {
        if let Some(seed) = self.seed.take() {
            self.words.extend(numbers(seed));
        }
        let sums = self.words.iter_mut();
        match other.seed {
            Some(seed) => sums.zip(numbers(seed)).for_each(|(sum, word)| *sum = sum.wrapping_add(word)),
            None => sums.zip(&other.words).for_each(|(sum, word)| *sum = sum.wrapping_add(*word)),
        }
        self
    }

    /// What is in it, in one number.
    pub(crate) fn digest(&self) -> u64 {
        let digest = |sum: u64, word: u64| sum.rotate_left(5) ^ word;
        match self.seed {
            Some(seed) => numbers(seed).fold(0, digest),
            None => self.words.iter().copied().fold(0, digest),
        }
    }
}

/// The numbers of a chunk (splitmix64).
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (0..WORDS).map(move |at| {
        let mixed = (seed << 32 | at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

impl Weigh for Chunk {
    fn weight(&self) -> u64 {
        BYTES
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.gauge.exist.fetch_sub(BYTES, Relaxed);
    }
}
