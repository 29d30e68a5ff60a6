//! `tidegate run` and `tidegate check`: flags become configuration, configuration becomes a gateway.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tidegate_gateway::Running;
use tidegate_gateway::config::{Config, Effective, LimitWord, LogWord, Size, Span};
use tidegate_gateway::listen::Shutdown;
use tidegate_gateway::observe::AccessLog;
use tokio::signal::unix::{SignalKind, signal};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder};

use crate::{Failure, on_runtime};

/// Lines for standard error that may wait for whoever reads it: a burst of a busy second. Beyond it they are lost.
const WAITING_LINES: usize = 4096;
/// At the end, so long is waited for whoever reads the access log.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The flags of the gateway. Each has its word in the configuration file too, and counts more than the file.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The service to protect: http://host:port, https://host:port or unix:/path
    #[arg(env = "TIDEGATE_ORIGIN")]
    origin: Option<String>,
    /// Where clients come [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "TIDEGATE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where /metrics and /status are; a loopback address [default: 127.0.0.1:9900]
    #[arg(long, value_name = "ADDR", env = "TIDEGATE_ADMIN")]
    admin: Option<SocketAddr>,
    /// Where /ready and /healthz are for an orchestrator on another machine [default: nowhere]
    #[arg(long, value_name = "ADDR", env = "TIDEGATE_PROBE")]
    probe: Option<SocketAddr>,
    /// How much may be at the origin at once: adaptive, or a number [default: adaptive]
    #[arg(long, value_name = "adaptive|N", env = "TIDEGATE_LIMIT")]
    limit: Option<LimitWord>,
    /// Several gateways stand before the same origin: find the limit together
    #[arg(long)]
    shared: bool,
    /// A path that passes without a permit, such as the origin's health check, 64 at a time; may be repeated
    #[arg(long, value_name = "PATH")]
    bypass: Vec<String>,
    /// The longest a request waits [default: 5s]
    #[arg(long, value_name = "TIME")]
    max_wait: Option<Span>,
    /// The most requests that wait [default: 1024]
    #[arg(long, value_name = "N")]
    max_queue: Option<u64>,
    /// The most bytes of bodies that wait with them [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    max_queue_bytes: Option<Size>,
    /// When clients give up, unless a request says so itself [default: 10s]
    #[arg(long, value_name = "TIME")]
    client_timeout: Option<Span>,
    /// The most client connections [default: 10000]
    #[arg(long, value_name = "N")]
    max_connections: Option<u64>,
    /// The most WebSockets, event streams and the like [default: 10000]
    #[arg(long, value_name = "N")]
    max_streams: Option<u64>,
    /// The most bytes held for clients and the service, such as 256MiB: the program and kernel buffers are included; a
    /// quarter of what the container or the machine has, if nothing is said
    #[arg(long, value_name = "SIZE", env = "TIDEGATE_MEMORY")]
    memory: Option<Size>,
    /// How long work may take to finish on shutdown [default: 30s]
    #[arg(long, value_name = "TIME")]
    drain: Option<Span>,
    /// PEM file with the certificate chain: clients speak TLS then
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Speak HTTP/2 to the origin
    #[arg(long)]
    origin_http2: bool,
    /// How long a connection to the origin may take [default: 2s]
    #[arg(long, value_name = "TIME")]
    connect_timeout: Option<Span>,
    /// How long the origin may take to begin its answer, and may pause in it [default: 60s]
    #[arg(long, value_name = "TIME")]
    origin_timeout: Option<Span>,
    /// How long a request's head may take [default: 10s]
    #[arg(long, value_name = "TIME")]
    head_timeout: Option<Span>,
    /// How long a client connection may be idle [default: 60s]
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<Span>,
    /// How long a client may move no byte, but in a gRPC call [default: 30s]
    #[arg(long, value_name = "TIME")]
    stall_timeout: Option<Span>,
    /// A proxy, or a network of them, whose X-Forwarded-* fields are believed; may be repeated
    #[arg(long, value_name = "NETWORK")]
    trusted_proxy: Vec<String>,
    /// Decide and count, refuse nothing for load; --memory and --max-connections still hold
    #[arg(long)]
    dry_run: bool,
    /// One line for each request on standard output: off, json or logfmt [default: off]
    #[arg(long, value_name = "FORMAT")]
    access_log: Option<LogWord>,
    /// A TOML file with the same words as these flags
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<PathBuf>,
}

/// What is checked.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration file
    file: PathBuf,
}

impl Flags {
    fn effective(self) -> Result<Effective, Failure> {
        let said = |error: tidegate_gateway::config::ConfigProblem| Failure::Configuration(error.to_string());
        let file = match &self.config {
            Some(file) => Config::read(file).map_err(said)?,
            None => Config::default(),
        };
        Effective::new(file.overridden_by(self.into_config())).map_err(said)
    }

    fn into_config(self) -> Config {
        let list = |words: Vec<String>| Some(words).filter(|words| !words.is_empty());
        let mut config = Config::default();
        config.origin = self.origin;
        config.listen = self.listen;
        config.admin = self.admin;
        config.probe = self.probe;
        config.limit = self.limit;
        config.shared = self.shared.then_some(true);
        config.bypass = list(self.bypass);
        config.max_wait = self.max_wait;
        config.max_queue = self.max_queue;
        config.max_queue_bytes = self.max_queue_bytes;
        config.client_timeout = self.client_timeout;
        config.max_connections = self.max_connections;
        config.max_streams = self.max_streams;
        config.memory = self.memory;
        config.drain = self.drain;
        config.tls_cert = self.tls_cert;
        config.tls_key = self.tls_key;
        config.origin_http2 = self.origin_http2.then_some(true);
        config.connect_timeout = self.connect_timeout;
        config.origin_timeout = self.origin_timeout;
        config.head_timeout = self.head_timeout;
        config.idle_timeout = self.idle_timeout;
        config.stall_timeout = self.stall_timeout;
        config.trusted_proxy = list(self.trusted_proxy);
        config.dry_run = self.dry_run.then_some(true);
        config.access_log = self.access_log;
        config
    }
}

/// What holds where so many open files are allowed, if they are counted.
fn within(effective: Effective, open_files: Option<u64>) -> Result<Effective, Failure> {
    match open_files {
        None => Ok(effective),
        Some(most) => effective.within(most).map_err(|few| Failure::Runtime(few.to_string())),
    }
}

/// Prints what holds.
pub(crate) fn check(check: &Check, open_files: Option<u64>) -> Result<(), Failure> {
    let effective = Config::read(&check.file)
        .and_then(Effective::new)
        .map_err(|problem| Failure::Configuration(problem.to_string()))?;
    let effective = within(effective, open_files)?;
    // Whoever closed the pipe has read enough.
    let _ = std::io::stdout().write_all(effective.describe().as_bytes());
    Ok(())
}

/// Serves until a signal asks to end.
pub(crate) fn run(flags: Flags, open_files: Option<u64>) -> Result<(), Failure> {
    let effective = within(flags.effective()?, open_files)?;
    // A pipe that nobody reads must stop neither the gateway nor its end: what does not fit is lost.
    let (said, _flushed) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .finish(std::io::stderr());
    // Problems of the gateway itself; RUST_LOG says more.
    tracing_subscriber::fmt()
        .with_writer(said.clone())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .init();
    on_runtime(serve(effective, said))?
}

async fn serve(effective: Effective, mut said: NonBlocking) -> Result<(), Failure> {
    // In one piece each, so that none is lost in part.
    let mut tell = |line: String| drop(said.write_all((line + "\n").as_bytes()));
    let failure = |error: &dyn std::fmt::Display| Failure::Runtime(error.to_string());
    let scheme = if effective.listen_settings.tls.is_some() { "https" } else { "http" };
    let (origin, drain) = (effective.origin.to_string(), effective.drain);
    let warning = effective.warning();
    let log = effective.access_log.map(|format| AccessLog::new(format, std::io::stdout()));
    let last = log.clone();
    let shutdown = Shutdown::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| failure(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failure(&error))?;
    let running = Running::start(effective, log, shutdown.clone()).map_err(|error| failure(&error))?;
    tell(format!("listening on {scheme}://{} for {origin}", running.address()));
    tell(format!("admin on http://{}/status", running.admin_address()));
    if let Some(probe) = running.probe_address() {
        tell(format!("probe on http://{probe}/ready"));
    }
    warning.into_iter().for_each(&mut tell);
    let serving = running.serve();
    tokio::pin!(serving);
    let mut asked = false;
    loop {
        tokio::select! {
            whole = &mut serving => {
                if !whole {
                    tell(format!("some requests did not finish within the drain time of {}s and were cut off", drain.as_secs_f64()));
                }
                let unread = match &last {
                    Some(log) => !log.finish(LAST_LINES).await,
                    None => false,
                };
                if unread {
                    tell("the last lines of the access log are lost: nobody read them within a second".to_owned());
                }
                return Ok(());
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if asked {
            return Err(Failure::Runtime(
                "a second signal: stopped at once, unfinished requests are cut off".to_owned(),
            ));
        }
        asked = true;
        tell(format!(
            "finishing what was begun, for {}s at most; another signal stops at once",
            drain.as_secs_f64()
        ));
        shutdown.drain();
    }
}

#[cfg(test)]
mod tests;
