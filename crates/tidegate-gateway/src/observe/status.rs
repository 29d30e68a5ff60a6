//! [`Status`]: the document behind `/status`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::memory::{Holder, MemoryFacts, PartyFacts};

/// The gateway at one moment. Times are milliseconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The origin's address.
    pub origin: String,
    /// `running` or `draining`.
    pub state: &'static str,
    /// Are refusals counted only?
    pub dry_run: bool,
    /// How much may be at the origin at once.
    pub limit: u64,
    /// Why the limit is where it is.
    pub why: Why,
    /// How much is at the origin.
    pub in_flight: u64,
    /// The most that ever was.
    pub peak_in_flight: u64,
    /// Requests in the queue.
    pub waiting: u64,
    /// The most the queue holds.
    pub queue_capacity: u64,
    /// Bytes of bodies that wait with their requests.
    pub queue_bytes: u64,
    /// The wait one more request would have, median.
    pub predicted_wait_p50_ms: f64,
    /// The same, of which nine in ten are shorter.
    pub predicted_wait_p90_ms: f64,
    /// Requests a second the origin takes while the limit binds, if it ever did.
    pub drain_rate: Option<f64>,
    /// The share of waits that ended by their predicted p90.
    pub coverage: f64,
    /// How many waits that share is of.
    pub coverage_of: u64,
    /// Requests admitted.
    pub admitted: u64,
    /// Requests whose time ran out in the queue.
    pub expired: u64,
    /// Requests whose client left while they waited.
    pub canceled: u64,
    /// Requests a dry run admitted although it would have refused them.
    pub would_refuse: u64,
    /// Requests refused, by reason; reasons that never came up are left out.
    pub refused: BTreeMap<&'static str, u64>,
    /// Client connections open.
    pub connections: u64,
    /// The most there may be.
    pub connections_limit: u64,
    /// Upgraded and endless answers open.
    pub streams: u64,
    /// The bytes held for peers, if they are counted.
    pub memory: Option<MemoryStatus>,
}

/// The bytes held for peers.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MemoryStatus {
    /// How many.
    #[serde(flatten)]
    pub facts: MemoryFacts,
    /// The connections that hold most.
    pub top: Vec<Holder>,
    /// The client addresses that hold most.
    pub addresses: Vec<PartyFacts>,
}

/// Why a limit is where it is.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Why {
    /// The algorithm.
    pub algorithm: &'static str,
    /// What it does at this moment.
    pub phase: &'static str,
    /// The estimate behind the limit.
    pub estimate: f64,
    /// How much more would be done with more: 1 in proportion, 0 nothing, negative less.
    pub elasticity: Option<f64>,
    /// Requests a second, as last measured.
    pub throughput: Option<f64>,
    /// Mean time at the origin, milliseconds.
    pub service_ms: Option<f64>,
    /// Estimated without moving the limit?
    pub passive: bool,
    /// `open files` if it would be higher with more of them (`ulimit -n`), else nothing.
    pub bound_by: Option<&'static str>,
}
