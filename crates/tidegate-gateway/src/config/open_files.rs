//! [`OpenFiles`]: how the open files that a process may have are divided, so that clients cannot take those with which the
//! origin is spoken to.

use std::fmt::Write as _;

use crate::gateway::LimitChoice;
use crate::origin::OriginSettings;

use super::Effective;

/// What is open besides connections, 24 together. Always: standard input, output and error (3); the runtime's epoll, its copy
/// and its waker (3); the pair that signals come through and a copy (3); the listeners of clients, admin and probe (3). For
/// moments (12): a name that is looked up and its files, a file of `/proc`, what is read of certificates; what whoever started
/// it has left open; and connections whose permit is back before the kernel has closed them, one for each thread that does so in
/// the same moment.
const RESERVE: u64 = 24;
/// Connections to the admin pages, and as many to the probe's: a few scrapers and people …
pub(super) const ADMIN: u64 = 64;
/// … of few files a 32nd, and four at least.
const ADMIN_OF_FEW: (u64, u64) = (32, 4);
/// Requests that bypass: a 32nd of what is left at most.
const BYPASS: u64 = 32;
/// A connection to an HTTP/2 origin, one that takes its place while it ends, and two that are dialed meanwhile.
const HTTP2_ORIGIN: u64 = 4;
/// Of what is left, requests at the origin and streams have a fifth each, and clients the rest.
const FIFTH: u64 = 5;
/// With less there is no fifth.
const LEAST_LEFT: u64 = 2 * FIFTH;
const LEAST: u64 = RESERVE + 2 * ADMIN_OF_FEW.1 + LEAST_LEFT;

/// So few files may be open that nobody could be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "open files: {most} are too few, the program and its first clients need {least}; raise ulimit -n (LimitNOFILE= of a systemd unit)",
    least = LEAST
)]
pub struct TooFewFiles {
    most: u64,
}

/// What would be had, were there files without end.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    clients: u64,
    requests: u64,
    streams: u64,
    bypass: u64,
    /// All of an HTTP/2 origin's share one connection.
    http2: bool,
}

/// The open files that a process may have, divided.
///
/// Clients come first: the requests of those beyond the limit wait in the queue, where they are told how long, and not unseen
/// in the system's backlog. So they have what `max-connections` says as long as requests at the origin and streams have a
/// fifth each; what one of the three does not want is for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenFiles {
    /// All there may be.
    pub most: u64,
    /// Connections to the admin pages, and as many to the probe's.
    pub admin: u64,
    /// Clients' connections.
    pub clients: u64,
    /// The origin's part. An HTTP/2 origin needs none that would bind anything.
    pub origin: Option<OriginFiles>,
}

/// Connections to an HTTP/1 origin, used and unused: one for each request that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginFiles {
    /// For requests in flight.
    pub requests: u64,
    /// For tunnels and answers without end, or that are not read.
    pub streams: u64,
    /// For requests that bypass.
    pub bypass: u64,
}

impl OriginFiles {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.requests.saturating_add(self.streams).saturating_add(self.bypass)
    }
}

impl OpenFiles {
    fn divide(most: u64, wanted: Wanted) -> Result<Self, TooFewFiles> {
        let admin = (most / ADMIN_OF_FEW.0).clamp(ADMIN_OF_FEW.1, ADMIN);
        let left = most.checked_sub(RESERVE + 2 * admin).filter(|left| *left >= LEAST_LEFT);
        let left = left.ok_or(TooFewFiles { most })?;
        if wanted.http2 {
            let clients = wanted.clients.min(left - HTTP2_ORIGIN);
            return Ok(Self { most, admin, clients, origin: None });
        }
        let bypass = wanted.bypass.min((left / BYPASS).max(1));
        let left = left - bypass;
        let kept = |wanted: u64| wanted.min(left / FIFTH);
        let clients = wanted.clients.min(left - kept(wanted.requests) - kept(wanted.streams));
        let requests = wanted.requests.min(left - clients - kept(wanted.streams));
        let streams = wanted.streams.min(left - clients - requests);
        Ok(Self { most, admin, clients, origin: Some(OriginFiles { requests, streams, bypass }) })
    }
}

impl Effective {
    /// The same with no more connections, requests at the origin and streams than so many open files allow.
    ///
    /// # Errors
    /// If they are too few to serve anybody.
    pub fn within(mut self, open_files: u64) -> Result<Self, TooFewFiles> {
        let wanted = Wanted {
            clients: self.listen_settings.max_connections,
            requests: match self.gateway.limit {
                LimitChoice::Fixed(limit) => limit,
                LimitChoice::Adaptive | LimitChoice::Shared => u64::MAX,
            },
            streams: self.gateway.max_streams,
            bypass: if self.gateway.bypass.is_empty() { 0 } else { self.gateway.max_bypass },
            http2: self.origin_settings.http2,
        };
        let files = OpenFiles::divide(open_files, wanted)?;
        self.admin_connections = files.admin;
        self.listen_settings.max_connections = files.clients;
        if let Some(origin) = files.origin {
            self.gateway.ceiling = Some(origin.requests);
            self.gateway.max_streams = origin.streams;
            self.gateway.max_bypass = origin.bypass.max(1);
            let most = |files: u64| usize::try_from(files).unwrap_or(usize::MAX);
            let OriginSettings { connections, idle_connections, .. } = &mut self.origin_settings;
            *connections = Some(most(origin.all()));
            *idle_connections = (*idle_connections).min(most(origin.requests));
        }
        self.open_files = Some(files);
        Ok(self)
    }

    /// What to tell whoever starts it: there are too few open files for something that was asked for, or for the usual
    /// number of connections.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let files = self.open_files?;
        let mut less = Vec::new();
        let mut look = |word: &str, had: u64, wanted: Option<u64>| {
            if let Some(wanted) = wanted.filter(|wanted| had < *wanted) {
                less.push(format!("{word} is {had}, not {wanted}"));
            }
        };
        look("max-connections", files.clients, Some(self.wanted_connections));
        if let Some(origin) = files.origin {
            let fixed = match self.gateway.limit {
                LimitChoice::Fixed(limit) => Some(limit),
                LimitChoice::Adaptive | LimitChoice::Shared => None,
            };
            look("limit", origin.requests, fixed);
            look("max-streams", origin.streams, self.said.max_streams);
        }
        (!less.is_empty()).then(|| {
            format!(
                "of {} open files {}: raise ulimit -n (LimitNOFILE= of a systemd unit) to have more",
                files.most,
                less.join(", ")
            )
        })
    }

    /// A number that holds, and why it is less than what was `wanted`.
    pub(super) fn noted(&self, holds: u64, wanted: u64) -> String {
        match self.open_files {
            Some(files) if holds < wanted => {
                format!("{holds} # of {} open files; {wanted} would be", files.most)
            }
            _ => holds.to_string(),
        }
    }

    /// How the open files are divided, as a comment; nothing where they have no bound.
    pub(super) fn files_described(&self) -> String {
        let mut text = String::new();
        let Some(OpenFiles { most, admin, clients, origin }) = self.open_files else { return text };
        let _ = write!(
            text,
            "\n# Of {most} open files, at most:\n#   the program {RESERVE}, connections to the admin pages and the probe {admin} each, of clients {clients}, to the origin "
        );
        let _ = match origin {
            None => writeln!(text, "{HTTP2_ORIGIN}, which HTTP/2 shares"),
            Some(files) => writeln!(
                text,
                "{}: {} for requests (the highest limit), {} for streams, {} for those that bypass",
                files.all(),
                files.requests,
                files.streams,
                files.bypass
            ),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const DEFAULT: Wanted =
        Wanted { clients: 10_000, requests: u64::MAX, streams: 10_000, bypass: 0, http2: false };

    fn sum(files: &OpenFiles) -> u64 {
        RESERVE + 2 * files.admin + files.clients + files.origin.map_or(HTTP2_ORIGIN, |origin| origin.all())
    }

    #[test]
    fn there_are_never_more_than_there_may_be_and_everybody_has_some() {
        for most in (LEAST..3000).chain([4096, 10_240, 16_384, 20_000, 65_536]) {
            for (clients, requests, streams, bypass) in [
                (10_000, u64::MAX, 10_000, 0),
                (10_000, 20_000, 20_000, 64),
                (u64::MAX, u64::MAX, u64::MAX, u64::MAX),
                (3, u64::MAX, 1, 1),
                (10_000, 1, 10_000, 0),
            ] {
                let wanted = Wanted { clients, requests, streams, bypass, ..DEFAULT };
                let files = OpenFiles::divide(most, wanted).unwrap();
                let origin = files.origin.unwrap();
                assert!(sum(&files) <= most, "{files:?}");
                assert!(files.clients.min(origin.requests).min(origin.streams) >= 1, "{files:?}");
                assert!(files.clients <= clients && origin.requests <= requests && origin.streams <= streams);
                assert_eq!(origin.bypass > 0, bypass > 0, "{files:?}");
                // Nothing is left over that somebody wants.
                let content =
                    files.clients == clients && origin.requests == requests && origin.streams == streams;
                assert!(content || sum(&files) == most, "{files:?} of {wanted:?}");
                let shared = OpenFiles::divide(most, Wanted { http2: true, ..wanted }).unwrap();
                assert!(shared.origin.is_none() && (1..=clients).contains(&shared.clients));
                assert!(sum(&shared) <= most, "{shared:?}");
            }
        }
        for most in [0, LEAST - 1] {
            assert_eq!(OpenFiles::divide(most, DEFAULT), Err(TooFewFiles { most }));
        }
    }

    #[test]
    fn clients_have_three_fifths_and_what_others_do_not_want() {
        let of = |most, wanted| {
            let OpenFiles { clients, origin, .. } = OpenFiles::divide(most, wanted).unwrap();
            origin.map(|OriginFiles { requests, streams, .. }| (clients, requests, streams)).unwrap()
        };
        assert_eq!(of(256, DEFAULT), (130, 43, 43));
        assert_eq!(of(1024, DEFAULT), (562, 187, 187));
        assert_eq!((of(16_900, DEFAULT).0, of(50_200, DEFAULT).2), (10_000, 10_000));
        assert!(of(16_700, DEFAULT).0 < 10_000 && of(50_000, DEFAULT).2 < 10_000);
        // A fixed limit of ten needs no more, and few clients leave room for requests.
        assert_eq!(of(256, Wanted { requests: 10, ..DEFAULT }), (163, 10, 43));
        assert_eq!(of(256, Wanted { clients: 100, ..DEFAULT }), (100, 73, 43));
        assert_eq!(of(256, Wanted { clients: 100, requests: 10, ..DEFAULT }), (100, 10, 106));
    }

    #[test]
    fn a_million_change_nothing() {
        let config =
            || Config::parse("origin = 'http://a'\nbypass = ['/healthz']\nmax-streams = 10000").unwrap();
        let before = Effective::new(config()).unwrap();
        let after = Effective::new(config()).unwrap().within(1 << 20).unwrap();
        assert_eq!(after.listen_settings.max_connections, before.listen_settings.max_connections);
        assert_eq!(
            (after.gateway.max_streams, after.gateway.max_bypass),
            (before.gateway.max_streams, before.gateway.max_bypass)
        );
        assert_eq!(after.origin_settings.idle_connections, before.origin_settings.idle_connections);
        assert_eq!(after.admin_connections, before.admin_connections);
        assert!(after.gateway.ceiling >= Some(1_000_000), "what an adaptive limit has of itself");
        assert_eq!(after.warning(), None);
        let described = after.describe();
        assert!(described.starts_with(before.describe().split("\n\n").next().unwrap()), "{described}");
    }

    #[test]
    fn what_is_less_is_said_with_its_reason() {
        let effective = |words: &str| {
            let config = Config::parse(&format!("origin = 'http://a'\n{words}")).unwrap();
            Effective::new(config).unwrap().within(256).unwrap()
        };
        let few = effective("limit = 100\nmax-streams = 50");
        let described = few.describe();
        for line in [
            "limit = 43 # of 256 open files; 100 would be\n",
            "max-connections = 130 # of 256 open files; 10000 would be\n",
            "max-streams = 43 # of 256 open files; 50 would be\n",
            "# Of 256 open files, at most:\n#   the program 24, ",
            "of clients 130, to the origin 86: 43 for requests (the highest limit), 43 for streams, 0 for",
        ] {
            assert!(described.contains(line), "no {line:?} in {described}");
        }
        assert!(Config::parse(&described).is_ok(), "{described}");
        assert_eq!(
            few.warning().unwrap(),
            "of 256 open files max-connections is 130, not 10000, limit is 43, not 100, max-streams is 43, not 50: raise ulimit -n (LimitNOFILE= of a systemd unit) to have more"
        );
        assert_eq!(few.gateway.ceiling, Some(43));
        assert_eq!((few.origin_settings.connections, few.origin_settings.idle_connections), (Some(86), 43));
        // Nobody asked for what an adaptive limit and the usual number of streams would be.
        assert_eq!(effective("max-connections = 100").warning(), None);
        let http2 = effective("origin-http2 = true\nlimit = 1000\nmax-streams = 1000");
        assert_eq!((http2.gateway.ceiling, http2.origin_settings.connections), (None, None));
        assert!(http2.describe().contains("limit = 1000\n") && http2.describe().contains("HTTP/2 shares"));
        assert_eq!(
            http2.warning().unwrap(),
            "of 256 open files max-connections is 212, not 10000: raise ulimit -n (LimitNOFILE= of a systemd unit) to have more"
        );
    }
}
