//! [`ListenSettings`]: every bound on the client's side, with its reason.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::body::PaceSettings;
use crate::memory::Memory;

use super::peers::TrustedPeers;

/// The bounds of a listener. Nothing in it is unlimited.
#[derive(Clone)]
#[non_exhaustive]
pub struct ListenSettings {
    /// Connections open at a time; beyond it none is accepted, and the system's backlog holds the rest. 10,000:
    /// idle ones cost about 13 KiB each, and 3 in the kernel.
    pub max_connections: u64,
    /// A request head must arrive within this: 10 s, many round trips of the slowest network.
    pub head_timeout: Duration,
    /// A connection without a request is closed after this: 60 s, more than browsers and pools wait between two.
    pub idle_timeout: Duration,
    /// The most bytes of a request head: 32 KiB, as the largest cookies need.
    pub head_bytes: usize,
    /// The most fields of a request head: 100, as hyper and most servers allow.
    pub head_fields: usize,
    /// HTTP/2 streams open at a time on one connection: 100, the least RFC 9113 §6.5.2 recommends.
    pub streams: u32,
    /// How slowly a client may send and read.
    pub pace: PaceSettings,
    /// Half of so many bytes may wait unsent in the kernel for one connection before it takes more (`TCP_NOTSENT_LOWAT`), and
    /// seven quarters of them at worst: 16 KiB, so that a slow reader is felt here and not in a buffer of megabytes.
    pub unsent_bytes: u32,
    /// Whose bytes connections and requests are charged to; without it nothing is charged.
    pub memory: Option<Memory>,
    /// Proxies, each of which stands for many clients: when memory is short, they have no share of their own. Nobody.
    pub proxies: TrustedPeers,
    /// How long a request may wait for memory: 5 s, as in the queue.
    pub memory_wait: Duration,
    /// With it, the listener speaks TLS and offers HTTP/2 and HTTP/1.1 by ALPN.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            head_bytes: 32 * 1024,
            head_fields: 100,
            streams: 100,
            pace: PaceSettings::default(),
            unsent_bytes: 16 * 1024,
            memory: None,
            proxies: TrustedPeers::default(),
            memory_wait: Duration::from_secs(5),
            tls: None,
        }
    }
}

impl fmt::Debug for ListenSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenSettings")
            .field("max_connections", &self.max_connections)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}
