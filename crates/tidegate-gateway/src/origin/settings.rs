//! [`OriginSettings`]: how the service behind is spoken to.

use std::time::Duration;

use crate::memory::Memory;

/// How the service behind is spoken to. Nothing in it is unlimited.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OriginSettings {
    /// HTTP/2 instead of HTTP/1.1: with prior knowledge in clear, by ALPN over TLS.
    pub http2: bool,
    /// A connection, TLS included, must stand within this: 2 s, one lost SYN and its repetition.
    pub connect_timeout: Duration,
    /// An answer must begin within this: 60 s, as nginx and most load balancers have it.
    pub head_timeout: Duration,
    /// An answer that has begun must not pause for longer: 60 s, likewise.
    pub body_timeout: Duration,
    /// An unused connection is closed after this: 60 s; most services close theirs earlier.
    pub idle_timeout: Duration,
    /// Whose bytes answers are charged to; without it none are.
    pub memory: Option<Memory>,
    /// The most unused connections: 256. In use are as many as the limit says.
    pub idle_connections: usize,
    /// The most HTTP/1 connections, used and unused, as far as that is not bounded by the requests that come: what there are
    /// open files for. A request for which there is none waits, for as long as a connection may take.
    pub connections: Option<usize>,
}

impl Default for OriginSettings {
    fn default() -> Self {
        Self {
            http2: false,
            connect_timeout: Duration::from_secs(2),
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            memory: None,
            idle_connections: 256,
            connections: None,
        }
    }
}

/// A silent origin is not declared gone earlier, however short its answers may take: a few lost packets and their
/// repetitions take that long.
const LEAST_SILENCE: Duration = Duration::from_secs(10);

impl OriginSettings {
    /// An origin whose machine acknowledges nothing for so long is gone (`TCP_USER_TIMEOUT`, Linux): half of
    /// [`head_timeout`](Self::head_timeout), so that a request may still be repeated elsewhere in its time, and 10 s
    /// at least. Not shorter, because an origin that takes no byte of an upload for so long counts as gone too.
    #[must_use]
    pub fn gone_after(&self) -> Duration {
        (self.head_timeout / 2).max(LEAST_SILENCE)
    }

    /// A connection without a byte is probed after so long (keepalive): half of
    /// [`gone_after`](Self::gone_after), which leaves time for three probes.
    #[must_use]
    pub fn probe_after(&self) -> Duration {
        self.gone_after() / 2
    }
}
