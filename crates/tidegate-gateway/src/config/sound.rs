//! Values that could be read but cannot hold: each is refused with what to write instead.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate::Limiter;

use crate::origin::OriginAddress;

use super::file::ConfigProblem;
use super::units::Span;

/// Timers go by milliseconds: less ends whatever it bounds before it has begun.
const SHORTEST: Duration = Duration::from_millis(1);

/// A timeout in which something can happen, or the default if none was said.
pub(super) fn timeout(word: &str, said: Option<Span>, default: Duration) -> Result<Duration, ConfigProblem> {
    match said {
        None => Ok(default),
        Some(Span(time)) if time >= SHORTEST => Ok(time),
        Some(time) => Err(ConfigProblem::new(format!(
            "{word}: within {time} nothing can happen; give at least {}",
            Span(SHORTEST)
        ))),
    }
}

/// A count that lets somebody in and can be counted, or the default if none was said.
pub(super) fn count(word: &str, said: Option<u64>, default: u64) -> Result<u64, ConfigProblem> {
    match said {
        None => Ok(default),
        Some(0) => Err(ConfigProblem::new(format!("{word}: 0 would let nobody in; give at least 1"))),
        Some(count) if count > Limiter::MAX_LIMIT => Err(ConfigProblem::new(format!(
            "{word}: {count} is more than can be counted; give at most {}",
            Limiter::MAX_LIMIT
        ))),
        Some(count) => Ok(count),
    }
}

/// Every listener has an address of its own, and none is the origin's: the gateway would be its own client.
pub(super) fn addresses(
    origin: &OriginAddress,
    listeners: &[(&str, Option<SocketAddr>)],
) -> Result<(), ConfigProblem> {
    let given = || listeners.iter().filter_map(|(word, address)| Some((*word, (*address)?)));
    for (place, (word, address)) in given().enumerate() {
        if let Some((other, its)) = given().take(place).find(|(_, its)| meet(*its, address)) {
            return Err(ConfigProblem::new(format!(
                "{word}: {address} is taken by {other} = {its}; give each a port of its own"
            )));
        }
        if origin.socket().is_some_and(|origin| meet(origin, address)) {
            return Err(ConfigProblem::new(format!(
                "{word}: {address} is the address of the origin, {origin}; give the gateway another"
            )));
        }
    }
    Ok(())
}

/// Can only one of them be listened on? Port 0 is any that is free; an unspecified address is every one of this machine,
/// of which loopback is certain, and `[::]` takes those of IPv4 too.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |all: SocketAddr, one: SocketAddr| {
        all.ip().is_unspecified()
            && (all.is_ipv6() || one.is_ipv4())
            && (one.ip().is_loopback() || one.ip().is_unspecified())
    };
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || takes(one, other) || takes(other, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_meet_where_one_takes_the_other() {
        for (one, other, both) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:80", "127.0.0.2:80", true),
            ("0.0.0.0:80", "10.0.0.1:80", false), // perhaps another machine
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((meet(one, other), meet(other, one)), (both, both), "{one} {other}");
        }
    }

    #[test]
    fn the_origin_is_no_listener() {
        let listen = |address: &str| [("listen", address.parse().ok())];
        for (origin, address, sound) in [
            ("http://localhost:8080", "127.0.0.1:8080", false),
            ("http://[::1]:8080", "[::]:8080", false),
            ("https://127.0.0.1", "0.0.0.0:443", false),
            ("http://a.example:8080", "127.0.0.1:8080", true),
            ("unix:/run/app", "127.0.0.1:8080", true),
        ] {
            let origin = origin.parse().unwrap();
            assert_eq!(addresses(&origin, &listen(address)).is_ok(), sound, "{origin} {address}");
        }
    }

    #[test]
    fn counts_are_those_that_a_limiter_takes() {
        assert_eq!(count("limit", Some(Limiter::MAX_LIMIT), 1), Ok(Limiter::MAX_LIMIT));
        assert!(count("limit", Some(Limiter::MAX_LIMIT + 1), 1).is_err());
        assert_eq!(count("limit", None, 7), Ok(7));
    }
}
