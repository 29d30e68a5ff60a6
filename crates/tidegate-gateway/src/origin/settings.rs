//! [`OriginSettings`]: how the service behind is spoken to.

use std::time::Duration;

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
    /// The most unused connections: 256. In use are as many as the limit says.
    pub idle_connections: usize,
}

impl Default for OriginSettings {
    fn default() -> Self {
        Self {
            http2: false,
            connect_timeout: Duration::from_secs(2),
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            idle_connections: 256,
        }
    }
}
