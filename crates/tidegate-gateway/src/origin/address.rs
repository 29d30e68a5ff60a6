//! [`OriginAddress`]: where the service behind is.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use http::uri::{Authority, Scheme, Uri};

/// Where the service behind is: `http://host[:port]`, `https://host[:port]` or `unix:/path/to/socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginAddress {
    pub(super) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16, tls: bool, authority: Authority },
    Unix(PathBuf),
}

/// The text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an origin: {problem}; write http://host:port, https://host:port or unix:/path")]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

impl OriginAddress {
    /// `http` or `https`: what `:scheme` says to an HTTP/2 origin.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match &self.place {
            Place::Tcp { tls: true, .. } => Scheme::HTTPS,
            _ => Scheme::HTTP,
        }
    }

    /// Its IP address and port, if that is said without asking a resolver.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        let Place::Tcp { host, port, .. } = &self.place else { return None };
        let ip = if host == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { host.parse().ok() };
        ip.map(|ip| SocketAddr::new(ip, *port))
    }

    /// The name to put where a request brings none.
    #[must_use]
    pub fn authority(&self) -> Authority {
        match &self.place {
            Place::Tcp { authority, .. } => authority.clone(),
            Place::Unix(_) => Authority::from_static("localhost"),
        }
    }
}

impl FromStr for OriginAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { text: text.to_owned(), problem };
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(wrong("the path of a unix socket must begin with /"));
            }
            return Ok(Self { place: Place::Unix(PathBuf::from(path)) });
        }
        let uri: Uri = text.parse().map_err(|_| wrong("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(wrong("only http, https and unix are known")),
            None => return Err(wrong("the scheme is missing")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("the host is missing"))?.clone();
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("it has a path, but requests keep their own"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("it has a user name"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.contains(']') => match authority.port_u16() {
                Some(port) if port > 0 => port,
                _ => return Err(AddressError { text: text.to_owned(), problem: port_problem(port) }),
            },
            _ if tls => 443,
            _ => 80,
        };
        Ok(Self { place: Place::Tcp { host, port, tls, authority } })
    }
}

fn port_problem(port: &str) -> &'static str {
    if port.is_empty() {
        "the port is missing after the colon"
    } else {
        "the port is not a number of 1 to 65535"
    }
}

impl fmt::Display for OriginAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { authority, .. } => write!(f, "{}://{authority}", self.scheme()),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for text in ["http://a:80", "https://a.example", "http://[::1]:9000", "unix:/run/x.sock"] {
            assert_eq!(text.parse::<OriginAddress>().unwrap().to_string(), text);
        }
        let Place::Tcp { host, port, tls, .. } = "https://[::1]".parse::<OriginAddress>().unwrap().place
        else {
            panic!("not TCP")
        };
        assert_eq!((host.as_str(), port, tls), ("::1", 443, true));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, problem) in [
            ("localhost:9000", "scheme is missing"),
            ("localhost", "scheme is missing"),
            ("ftp://a", "only http"),
            ("http://a/path", "has a path"),
            ("http://u@a", "user name"),
            ("http://a:99999", "port is not"),
            ("http://a:", "port is missing"),
            ("unix:run", "begin with /"),
            ("", "not a URL"),
        ] {
            let error = text.parse::<OriginAddress>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }
}
