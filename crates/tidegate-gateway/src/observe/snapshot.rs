//! What limiters and connections say of themselves when `/metrics` is asked.

use std::fmt;
use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::gateway::Gateway;

/// Reads the gateway's own figures at the moment of a scrape.
#[derive(Debug)]
pub(crate) struct Snapshot(pub(crate) Weak<Gateway>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(gateway) = self.0.upgrade() else { return Ok(()) };
        let status = gateway.status();
        let facts = gateway.origin_facts();
        let memory = gateway.memory_facts();
        let gauges: [(&str, &str, f64); 22] = [
            ("limit", "How much may be at the origin at once", status.limit as f64),
            ("in_flight", "How much is", status.in_flight as f64),
            ("in_flight_peak", "The most that ever was", status.peak_in_flight as f64),
            ("waiting", "Requests in the queue", status.waiting as f64),
            ("queue_capacity", "The most requests the queue holds", status.queue_capacity as f64),
            ("queue_bytes", "Bytes of bodies that wait with their requests", status.queue_bytes as f64),
            (
                "predicted_wait_p50_seconds",
                "The wait one more request would have, median",
                seconds(status.predicted_wait_p50_ms),
            ),
            (
                "predicted_wait_p90_seconds",
                "The same, of which nine in ten are shorter",
                seconds(status.predicted_wait_p90_ms),
            ),
            ("wait_coverage_ratio", "Waits that ended by their predicted p90; 0.9 is right", status.coverage),
            (
                "drain_rate",
                "Requests a second the origin takes while the limit binds",
                status.drain_rate.unwrap_or(0.0),
            ),
            ("connections", "Client connections open", status.connections as f64),
            ("connections_limit", "The most there may be", status.connections_limit as f64),
            ("streams", "Upgraded and endless answers open", status.streams as f64),
            ("origin_connections", "Connections to the origin", facts.open as f64),
            ("origin_connections_idle", "Those that nobody uses", facts.idle as f64),
            ("memory_limit_bytes", "The most bytes that may be held", memory.limit_bytes as f64),
            (
                "memory_charged_bytes",
                "Bytes charged for what is held or may come",
                memory.charged_bytes as f64,
            ),
            ("memory_charged_peak_bytes", "The most that ever were", memory.charged_peak_bytes as f64),
            ("memory_fixed_bytes", "Of them, what the program itself takes", memory.fixed_bytes as f64),
            ("memory_holders", "Connections that bytes are charged to", memory.holders as f64),
            ("memory_parties", "Client addresses that share it", memory.parties as f64),
            ("memory_parked", "Connections accepted that wait for it, unread", memory.parked as f64),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let counters: [(&str, &str, u64); 9] = [
            ("admitted", "Requests admitted", status.admitted),
            ("expired", "Requests whose time ran out in the queue", status.expired),
            ("canceled", "Requests whose client left while they waited", status.canceled),
            (
                "would_refuse",
                "Requests a dry run admitted although it would have refused them",
                status.would_refuse,
            ),
            ("origin_dials", "Connections to the origin that were tried", facts.dials),
            ("origin_dials_failed", "Those that did not come to stand", facts.dials_failed),
            ("memory_refused", "Requests and connections for which there was no memory", memory.refused),
            (
                "memory_displaced",
                "Connections closed because there was no place to park them",
                memory.displaced,
            ),
            ("origin_repeats", "Requests sent again where the first sending had no effect", facts.repeats),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}

fn seconds(millis: f64) -> f64 {
    millis / 1e3
}
