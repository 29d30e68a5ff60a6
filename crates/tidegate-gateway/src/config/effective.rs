//! [`Effective`]: what holds, defaults included.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tidegate::budget::Budget;

use crate::gateway::{GatewaySettings, LimitChoice};
use crate::listen::ListenSettings;
use crate::memory::Plan;
use crate::observe::LogFormat;
use crate::origin::{OriginAddress, OriginSettings};
use crate::relay::TrustedPeers;
use crate::tls;

use super::file::{Config, ConfigProblem};
use super::open_files::{self, OpenFiles};
use super::sound::{addresses, count, timeout};
use super::units::{LimitWord, LogWord, Size, Span};

/// What holds, defaults included, checked as far as it can be without starting.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Effective {
    /// The service behind.
    pub origin: OriginAddress,
    /// How it is spoken to.
    pub origin_settings: OriginSettings,
    /// What may be there, and what may wait.
    pub gateway: GatewaySettings,
    /// Where clients come.
    pub listen: SocketAddr,
    /// Their bounds.
    pub listen_settings: ListenSettings,
    /// Where operators look.
    pub admin: SocketAddr,
    /// Where an orchestrator asks.
    pub probe: Option<SocketAddr>,
    /// The most connections to the admin pages, and as many to the probe's.
    pub admin_connections: u64,
    /// The most bytes held for peers, the program and the kernel's buffers included, but for what [`Plan::proof`] names last.
    pub memory: u64,
    /// How long work may take to finish on shutdown.
    pub drain: Duration,
    /// How the access log is written, if at all.
    pub access_log: Option<LogFormat>,
    /// How the open files are divided, if [`within`](Self::within) has been asked.
    pub open_files: Option<OpenFiles>,
    /// The connections and streams that there would be without that.
    pub(super) wanted_connections: u64,
    pub(super) wanted_streams: u64,
    pub(super) said: Config,
}

impl Effective {
    /// Fills in defaults and checks.
    ///
    /// # Errors
    /// With the word that is wrong and what to write instead.
    pub fn new(said: Config) -> Result<Self, ConfigProblem> {
        let origin = said
            .origin
            .as_deref()
            .ok_or_else(|| {
                ConfigProblem::new(
                    "no origin: say which service to protect, such as tidegate http://127.0.0.1:9000",
                )
            })?
            .parse::<OriginAddress>()
            .map_err(|error| ConfigProblem::new(format!("origin: {error}")))?;
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let admin = said.admin.unwrap_or(loopback(9900));
        if !admin.ip().is_loopback() {
            return Err(ConfigProblem::new(format!(
                "admin: {admin} can be reached from other machines, and the admin pages ask for no password; give a loopback address such as 127.0.0.1:9900, and use probe for an orchestrator's checks"
            )));
        }
        let listen = said.listen.unwrap_or(loopback(8080));
        addresses(&origin, &[("listen", Some(listen)), ("admin", Some(admin)), ("probe", said.probe)])?;
        let (gateway, listen_settings) = (gateway_settings(&said)?, listen_settings(&said)?);
        Ok(Self {
            origin,
            origin_settings: origin_settings(&said)?,
            wanted_streams: gateway.max_streams,
            gateway,
            listen,
            wanted_connections: listen_settings.max_connections,
            listen_settings,
            open_files: None,
            admin,
            probe: said.probe,
            admin_connections: open_files::ADMIN,
            memory: memory(&said)?,
            drain: said.drain.map_or(Duration::from_secs(30), |drain| drain.0),
            access_log: match said.access_log.unwrap_or(LogWord::Off) {
                LogWord::Off => None,
                LogWord::Json => Some(LogFormat::Json),
                LogWord::Logfmt => Some(LogFormat::Logfmt),
            },
            said,
        })
    }

    /// The configuration as TOML, every default stated, with the memory that it implies as a comment, and how the open files
    /// are divided.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "{key} = {value}");
        };
        let text_of = |value: &dyn std::fmt::Display| toml::Value::from(value.to_string()).to_string();
        let list =
            |values: &Option<Vec<String>>| toml::Value::from(values.clone().unwrap_or_default()).to_string();
        let span = |time: Duration| text_of(&Span(time));
        line("origin", text_of(&self.origin));
        line("listen", text_of(&self.listen));
        line("admin", text_of(&self.admin));
        if let Some(probe) = self.probe {
            line("probe", text_of(&probe));
        }
        line(
            "limit",
            match self.gateway.limit {
                LimitChoice::Fixed(limit) => {
                    self.noted(limit.min(self.gateway.ceiling.unwrap_or(limit)), limit)
                }
                _ => "\"adaptive\"".to_owned(),
            },
        );
        line("shared", (self.gateway.limit == LimitChoice::Shared).to_string());
        line("bypass", list(&self.said.bypass));
        line("max-wait", span(self.gateway.max_wait));
        line("max-queue", self.gateway.max_queue.to_string());
        line("max-queue-bytes", text_of(&Size(self.gateway.max_queue_bytes)));
        line("client-timeout", span(self.gateway.client_timeout));
        line("max-connections", self.noted(self.listen_settings.max_connections, self.wanted_connections));
        line("max-streams", self.noted(self.gateway.max_streams, self.wanted_streams));
        line("memory", text_of(&Size(self.memory)));
        line("drain", span(self.drain));
        for (key, file) in [("tls-cert", &self.said.tls_cert), ("tls-key", &self.said.tls_key)] {
            if let Some(file) = file {
                line(key, text_of(&file.display()));
            }
        }
        line("origin-http2", self.origin_settings.http2.to_string());
        line("connect-timeout", span(self.origin_settings.connect_timeout));
        line("origin-timeout", span(self.origin_settings.head_timeout));
        line("head-timeout", span(self.listen_settings.head_timeout));
        line("idle-timeout", span(self.listen_settings.idle_timeout));
        line("stall-timeout", span(self.listen_settings.pace.stall));
        line("trusted-proxy", list(&self.said.trusted_proxy));
        line("dry-run", self.gateway.dry_run.to_string());
        line("access-log", text_of(&self.said.access_log.unwrap_or(LogWord::Off)));
        let _ = write!(
            text,
            "\n# Memory, kernel buffers included but for what the last line names:\n{}",
            self.plan().proof(self.listen_settings.max_connections)
        );
        text + &self.files_described()
    }

    /// How the memory is divided.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::new(self.memory, self.listen_settings.tls.is_some(), self.origin_settings.http2)
    }
}

/// A quarter of what the container or the machine has, and enough for some connections.
fn memory(said: &Config) -> Result<u64, ConfigProblem> {
    match said.memory {
        Some(Size(bytes)) if bytes < Plan::LEAST => Err(ConfigProblem::new(format!(
            "memory: {} is less than the program and its first connections need; give at least {}",
            Size(bytes),
            Size(Plan::LEAST)
        ))),
        Some(Size(bytes)) => Ok(bytes),
        None => Ok(Budget::from_container().limit().max(Plan::LEAST)),
    }
}

fn origin_settings(said: &Config) -> Result<OriginSettings, ConfigProblem> {
    let default = OriginSettings::default();
    Ok(OriginSettings {
        http2: said.origin_http2.unwrap_or(false),
        connect_timeout: timeout("connect-timeout", said.connect_timeout, default.connect_timeout)?,
        head_timeout: timeout("origin-timeout", said.origin_timeout, default.head_timeout)?,
        body_timeout: timeout("origin-timeout", said.origin_timeout, default.body_timeout)?,
        ..default
    })
}

fn gateway_settings(said: &Config) -> Result<GatewaySettings, ConfigProblem> {
    let default = GatewaySettings::default();
    let bypass = said.bypass.clone().unwrap_or_default();
    if let Some(path) = bypass.iter().find(|path| !path.starts_with('/')) {
        return Err(ConfigProblem::new(format!(
            "bypass: `{path}` is not a path: write one such as /healthz"
        )));
    }
    let shared = said.shared.unwrap_or(false);
    let limit = match said.limit.unwrap_or(LimitWord::Adaptive) {
        LimitWord::Fixed(_) if shared => {
            return Err(ConfigProblem::new(
                "shared: a fixed limit is not found together; leave one of limit and shared out",
            ));
        }
        LimitWord::Fixed(limit) => LimitChoice::Fixed(count("limit", Some(limit), limit)?),
        LimitWord::Adaptive if shared => LimitChoice::Shared,
        LimitWord::Adaptive => LimitChoice::Adaptive,
    };
    let max_wait = said.max_wait.map_or(default.max_wait, |wait| wait.0);
    let max_queue = said.max_queue.unwrap_or(default.max_queue);
    if max_wait.is_zero() && max_queue > 0 {
        return Err(ConfigProblem::new("max-wait: nobody may wait 0s; to have no queue write max-queue = 0"));
    }
    if max_queue > 1_000_000 {
        return Err(ConfigProblem::new(
            "max-queue: more than 1000000 requests would wait for minutes; give less",
        ));
    }
    Ok(GatewaySettings {
        limit,
        max_wait,
        max_queue,
        max_queue_bytes: said.max_queue_bytes.map_or(default.max_queue_bytes, |size| size.0),
        client_timeout: timeout("client-timeout", said.client_timeout, default.client_timeout)?,
        bypass,
        max_streams: count("max-streams", said.max_streams, default.max_streams)?,
        trusted_proxies: TrustedPeers::new(said.trusted_proxy.iter().flatten())
            .map_err(|error| ConfigProblem::new(format!("trusted-proxy: {error}")))?,
        dry_run: said.dry_run.unwrap_or(false),
        ..default
    })
}

fn listen_settings(said: &Config) -> Result<ListenSettings, ConfigProblem> {
    let mut settings = ListenSettings::default();
    settings.max_connections = count("max-connections", said.max_connections, settings.max_connections)?;
    settings.head_timeout = timeout("head-timeout", said.head_timeout, settings.head_timeout)?;
    settings.idle_timeout = timeout("idle-timeout", said.idle_timeout, settings.idle_timeout)?;
    settings.pace.stall = timeout("stall-timeout", said.stall_timeout, settings.pace.stall)?;
    settings.tls = match (&said.tls_cert, &said.tls_key) {
        (None, None) => None,
        (Some(certificates), Some(key)) => Some(
            tls::server(certificates, key)
                .map_err(|error| ConfigProblem::new(format!("tls-cert: {error}")))?,
        ),
        (Some(_), None) => return Err(ConfigProblem::new("tls-key: missing; tls-cert needs its key")),
        (None, Some(_)) => {
            return Err(ConfigProblem::new("tls-cert: missing; tls-key needs its certificate"));
        }
    };
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_means_the_same_when_read_again() {
        let said = Config::parse(
            "origin = 'unix:/run/app'\nlimit = 10\nmax-wait = '0.4ms'\nbypass = ['/healthz', '/\u{e9}\u{301}']\naccess-log = 'json'\ndrain = '0s'",
        )
        .unwrap();
        let first = Effective::new(said).unwrap();
        let text = first.describe();
        assert!(text.contains("limit = 10\n") && text.contains("max-queue = 1024\n"), "{text}");
        let again = Effective::new(Config::parse(&text).unwrap()).unwrap();
        assert_eq!(again.describe(), text);
        assert_eq!(again.gateway.max_wait, Duration::from_micros(400));
        assert_eq!(again.gateway.bypass, first.gateway.bypass);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, parts) in [
            ("", vec!["no origin", "tidegate http://"]),
            ("origin = 'a'", vec!["origin:", "scheme is missing"]),
            ("origin = 'http://a'\nlimt = 3", vec!["line 2", "unknown field `limt`", "limit"]),
            ("origin = 'http://a'\nmax-wait = '5'", vec!["line 2", "not a duration"]),
            ("origin = 'http://a'\nmax-wait = 5", vec!["line 2", "`5` is not a duration", "5s"]),
            ("origin = 'http://a'\nmax-queue = -1", vec!["line 2"]),
            ("origin = 'http://a'\nlimit = -1", vec!["line 2", "`-1` is not a limit", "adaptive"]),
            ("origin = 'http://a'\nlimit = true", vec!["line 2", "`true` is not a limit", "adaptive"]),
            ("origin = 'http://a'\nmemory = -5", vec!["line 2", "`-5` is not an amount of bytes", "64MiB"]),
            ("origin = 'http://a'\naccess-log = 1", vec!["line 2", "`1` is not a format", "logfmt"]),
            ("origin = 'http://a'\nlisten = 'here'", vec!["line 2", "`here` is not an address", ":8080"]),
            ("origin = 'http://a'\nprobe = 9901", vec!["line 2", "`9901` is not an address", ":8080"]),
            ("origin = 'http://a'\nadmin = '0.0.0.0:9900'", vec!["admin:", "probe"]),
            ("origin = 'http://a'\nlimit = 0", vec!["not a limit"]),
            ("origin = 'http://a'\nlimit = 1\nshared = true", vec!["shared:"]),
            ("origin = 'http://a'\nbypass = ['x']", vec!["bypass:", "/healthz"]),
            ("origin = 'http://a'\ntrusted-proxy = ['x']", vec!["trusted-proxy:", "10.0.0.0/8"]),
            ("origin = 'http://a'\ntls-cert = 'x'", vec!["tls-key: missing"]),
            ("origin = 'http://a'\ntls-cert = '/none'\ntls-key = '/none'", vec!["/none", "PEM"]),
            ("origin = 'http://a'\nmemory = '1MiB'", vec!["memory:", "at least 32MiB"]),
            ("origin = 'http://a'\nmax-wait = '0s'", vec!["max-queue = 0"]),
            ("origin = 'http://a'\nclient-timeout = '0s'", vec!["client-timeout:", "at least 1ms"]),
            ("origin = 'http://a'\nconnect-timeout = '0s'", vec!["connect-timeout:", "at least 1ms"]),
            ("origin = 'http://a'\norigin-timeout = '0s'", vec!["origin-timeout:", "at least 1ms"]),
            ("origin = 'http://a'\nhead-timeout = '0s'", vec!["head-timeout:", "at least 1ms"]),
            ("origin = 'http://a'\nidle-timeout = '0s'", vec!["idle-timeout:", "at least 1ms"]),
            ("origin = 'http://a'\nstall-timeout = '0s'", vec!["stall-timeout:", "at least 1ms"]),
            ("origin = 'http://a'\nstall-timeout = '0.9ms'", vec!["stall-timeout:", "at least 1ms"]),
            (
                "origin = 'http://a'\nlimit = 2000000000000000000",
                vec!["limit: 2000000000000000000", "at most"],
            ),
            ("origin = 'http://a'\nmax-streams = 0", vec!["max-streams: 0", "at least 1"]),
            ("origin = 'http://a'\nmax-streams = 2000000000000000000", vec!["max-streams:", "at most"]),
            ("origin = 'http://a'\nmax-connections = 0", vec!["max-connections: 0", "at least 1"]),
            ("origin = 'http://a'\nlisten = '127.0.0.1:9900'", vec!["admin: 127.0.0.1:9900", "listen"]),
            (
                "origin = 'http://a'\nprobe = '0.0.0.0:8080'",
                vec!["probe: 0.0.0.0:8080", "listen = 127.0.0.1:8080"],
            ),
            ("origin = 'http://127.0.0.1:8080'", vec!["listen: 127.0.0.1:8080", "origin"]),
        ] {
            let problem = Config::parse(text).and_then(Effective::new).expect_err(text).to_string();
            for part in parts {
                assert!(problem.contains(part), "{text:?}: {problem}");
            }
        }
    }
}
