//! [`Spread`]: a histogram of times that is written by every request, and so takes no lock and has a place for each
//! thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::striped::Striped;

/// Upper edges, in seconds: 1 ms to 60 s, about 2.5 to a decade.
const EDGES: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// A histogram of times. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread(Striped<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// One for each edge, and one beyond.
    within: [AtomicU64; EDGES.len() + 1],
    /// The bits of an `f64`: seconds.
    sum: AtomicU64,
}

impl Spread {
    /// Counts a time.
    pub(super) fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let at = EDGES.iter().position(|edge| *edge >= seconds).unwrap_or(EDGES.len());
        let counts = self.0.mine();
        if let Some(count) = counts.within.get(at) {
            count.fetch_add(1, Relaxed);
        }
        if seconds > 0.0 {
            let add = |sum| Some((f64::from_bits(sum) + seconds).to_bits());
            let _ = counts.sum.fetch_update(Relaxed, Relaxed, add); // never refused
        }
    }
}

impl EncodeMetric for Spread {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let edges = EDGES.into_iter().chain([f64::INFINITY]);
        let within = |at: usize| {
            self.0.all().filter_map(|counts| counts.within.get(at)).map(|count| count.load(Relaxed)).sum()
        };
        let buckets: Vec<(f64, u64)> = edges.enumerate().map(|(at, edge)| (edge, within(at))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.all().map(|counts| f64::from_bits(counts.sum.load(Relaxed))).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::{Metric, Registry};

    use super::*;

    #[test]
    fn it_says_what_the_clients_own_histogram_says() {
        let (ours, theirs) = (Spread::default(), Histogram::new(EDGES));
        for micros in [0, 1, 999, 1000, 1001, 2500, 30_000, 59_999_999, 60_000_000, 61_000_000] {
            ours.observe(Duration::from_micros(micros));
            theirs.observe(Duration::from_micros(micros).as_secs_f64());
        }
        assert_eq!(said(ours), said(theirs));
    }

    fn said(metric: impl Metric) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register("x", "y", metric);
        encode(&mut text, &registry).unwrap();
        text
    }
}
