//! [`Striped`]: what every request counts, in a place for each thread.
//!
//! A count that all threads write goes from one core's cache to the other's with every request, which takes longer than all
//! else that is done with it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Places. More threads share them, which costs time and no count.
const PLACES: usize = 16;

/// One `T` for each thread, or for a few. Clones are the same.
#[derive(Debug, Default)]
pub(super) struct Striped<T>(Arc<[Place<T>; PLACES]>);

/// Processors fetch two neighbouring lines of 64 bytes at once.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place<T>(T);

impl<T> Clone for Striped<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Striped<T> {
    /// This thread's.
    pub(super) fn mine(&self) -> &T {
        let [first, ..] = &*self.0;
        &self.0.get(place()).unwrap_or(first).0
    }

    /// Everybody's.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|place| &place.0)
    }
}

/// The place of this thread: they take turns.
fn place() -> usize {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    PLACE.with(|place| {
        if place.get() >= PLACES {
            place.set(TURN.fetch_add(1, Relaxed) % PLACES);
        }
        place.get()
    })
}

/// A count that only grows. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Striped<AtomicU64>);

impl Tally {
    /// One more.
    pub(super) fn inc(&self) {
        self.0.mine().fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.all().map(|count| count.load(Relaxed)).sum()
    }
}

impl EncodeMetric for Tally {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.get(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Tally {
    const TYPE: MetricType = MetricType::Counter;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_together() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * PLACES {
                scope.spawn(|| (0..100).for_each(|_| tally.clone().inc()));
            }
        });
        assert_eq!(tally.get(), 200 * PLACES as u64);
        let places = tally.0.all().filter(|count| count.load(Relaxed) > 0).count();
        assert!(places > 1, "every thread wrote the same place");
    }
}
