//! [`GatewaySettings`]: what may be at the origin, and what may wait.

use std::time::Duration;

use crate::memory::Memory;
use crate::relay::TrustedPeers;

/// How the limit comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitChoice {
    /// Found by the gateway, which alone stands before the origin.
    Adaptive,
    /// Found by several gateways before one origin, in phases of one clock.
    Shared,
    /// This many.
    Fixed(u64),
}

/// What may be at the origin, and what may wait. Nothing in it is unlimited.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatewaySettings {
    /// How the limit comes about.
    pub limit: LimitChoice,
    /// What it never exceeds, however it comes about: the requests for which there are connections to the origin. Nothing, if
    /// there is no such bound.
    pub ceiling: Option<u64>,
    /// The longest wait in the queue: 5 s, half of the client timeout.
    pub max_wait: Duration,
    /// The most requests in the queue: 1024.
    pub max_queue: u64,
    /// The most bytes of bodies that wait with them: 64 MiB, the queue times 64 KiB.
    pub max_queue_bytes: u64,
    /// When clients give up, unless a request says so itself: 10 s.
    pub client_timeout: Duration,
    /// Paths that pass without a permit: health checks of the origin.
    pub bypass: Vec<String>,
    /// The most of those at a time: 64, many checks at once, and little for an origin.
    pub max_bypass: u64,
    /// The most upgraded connections and endless answers at a time: 10,000, as many as connections.
    pub max_streams: u64,
    /// Whose bytes are charged; without it none are.
    pub memory: Option<Memory>,
    /// Whose forwarding fields are believed.
    pub trusted_proxies: TrustedPeers,
    /// Decide and count, refuse nothing for load. What bounds the gateway itself (memory, connections) still holds.
    pub dry_run: bool,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            limit: LimitChoice::Adaptive,
            ceiling: None,
            max_wait: Duration::from_secs(5),
            max_queue: 1024,
            max_queue_bytes: 64 * 1024 * 1024,
            client_timeout: Duration::from_secs(10),
            bypass: Vec::new(),
            max_bypass: 64,
            max_streams: 10_000,
            memory: None,
            trusted_proxies: TrustedPeers::default(),
            dry_run: false,
        }
    }
}
