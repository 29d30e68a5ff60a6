//! [`Config`]: what was said, in a file or as flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::units::{LimitWord, LogWord, Size, Span, address};

/// What was said, in a file or as flags. What was not said has its default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The service behind.
    pub origin: Option<String>,
    /// Where clients come.
    #[serde(default, deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
    /// Where operators look: metrics and status.
    #[serde(default, deserialize_with = "address")]
    pub admin: Option<SocketAddr>,
    /// Where an orchestrator asks whether we are ready.
    #[serde(default, deserialize_with = "address")]
    pub probe: Option<SocketAddr>,
    /// `adaptive`, or a number.
    pub limit: Option<LimitWord>,
    /// Several gateways stand before the same origin.
    pub shared: Option<bool>,
    /// Paths that pass without a permit.
    pub bypass: Option<Vec<String>>,
    /// The longest wait.
    pub max_wait: Option<Span>,
    /// The most requests that wait.
    pub max_queue: Option<u64>,
    /// The most bytes of bodies that wait.
    pub max_queue_bytes: Option<Size>,
    /// When clients give up.
    pub client_timeout: Option<Span>,
    /// The most client connections.
    pub max_connections: Option<u64>,
    /// The most upgraded connections and endless answers.
    pub max_streams: Option<u64>,
    /// The most bytes held for peers.
    pub memory: Option<Size>,
    /// How long work may take to finish on shutdown.
    pub drain: Option<Span>,
    /// PEM file with the certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with its key.
    pub tls_key: Option<PathBuf>,
    /// Speak HTTP/2 to the origin.
    pub origin_http2: Option<bool>,
    /// How long a connection to the origin may take.
    pub connect_timeout: Option<Span>,
    /// How long the origin may take to begin its answer, and may pause in it.
    pub origin_timeout: Option<Span>,
    /// How long a request's head may take.
    pub head_timeout: Option<Span>,
    /// How long a connection may be idle.
    pub idle_timeout: Option<Span>,
    /// How long a client may move no byte.
    pub stall_timeout: Option<Span>,
    /// Proxies whose forwarding fields are believed.
    pub trusted_proxy: Option<Vec<String>>,
    /// Decide and count, refuse nothing for load; `memory` and `max-connections` still hold.
    pub dry_run: Option<bool>,
    /// `off`, `json` or `logfmt`.
    pub access_log: Option<LogWord>,
}

/// A configuration cannot be used. The message says where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigProblem(pub(super) String);

impl ConfigProblem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is not as it should be; the message has the file, the line and the mend.
    pub fn read(file: &Path) -> Result<Self, ConfigProblem> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            ConfigProblem::new(format!(
                "{}: cannot be read: {error}; check the path and its permissions",
                file.display()
            ))
        })?;
        Self::parse(&text).map_err(|problem| ConfigProblem::new(format!("{}: {}", file.display(), problem.0)))
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// If a key is unknown or a value is not as it should be.
    pub fn parse(text: &str) -> Result<Self, ConfigProblem> {
        toml::from_str(text).map_err(|error| ConfigProblem::new(error.to_string().trim_end().to_owned()))
    }

    /// What `flags` say counts more.
    #[must_use]
    pub fn overridden_by(self, flags: Self) -> Self {
        Self {
            origin: flags.origin.or(self.origin),
            listen: flags.listen.or(self.listen),
            admin: flags.admin.or(self.admin),
            probe: flags.probe.or(self.probe),
            limit: flags.limit.or(self.limit),
            shared: flags.shared.or(self.shared),
            bypass: flags.bypass.or(self.bypass),
            max_wait: flags.max_wait.or(self.max_wait),
            max_queue: flags.max_queue.or(self.max_queue),
            max_queue_bytes: flags.max_queue_bytes.or(self.max_queue_bytes),
            client_timeout: flags.client_timeout.or(self.client_timeout),
            max_connections: flags.max_connections.or(self.max_connections),
            max_streams: flags.max_streams.or(self.max_streams),
            memory: flags.memory.or(self.memory),
            drain: flags.drain.or(self.drain),
            tls_cert: flags.tls_cert.or(self.tls_cert),
            tls_key: flags.tls_key.or(self.tls_key),
            origin_http2: flags.origin_http2.or(self.origin_http2),
            connect_timeout: flags.connect_timeout.or(self.connect_timeout),
            origin_timeout: flags.origin_timeout.or(self.origin_timeout),
            head_timeout: flags.head_timeout.or(self.head_timeout),
            idle_timeout: flags.idle_timeout.or(self.idle_timeout),
            stall_timeout: flags.stall_timeout.or(self.stall_timeout),
            trusted_proxy: flags.trusted_proxy.or(self.trusted_proxy),
            dry_run: flags.dry_run.or(self.dry_run),
            access_log: flags.access_log.or(self.access_log),
        }
    }
}
