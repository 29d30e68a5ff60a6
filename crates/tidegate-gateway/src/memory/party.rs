//! [`Party`]: the connections of one client, as far as addresses tell, and what they hold together.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of an IPv6 address that a site is given; the other 64 it chooses itself (RFC 6177, RFC 7421).
const SITE: u32 = 64;

/// Whose connections share as one: an IPv4 address, or an IPv6 network of 64 bits. A trusted proxy stands for many clients,
/// and is a party of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Party {
    address: IpAddr,
    proxy: bool,
}

/// What the connections of a party hold.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: AtomicU64,
    /// Of it: of what is kept for those that hold little.
    kept: AtomicU64,
}

impl Party {
    pub(super) fn new(address: IpAddr, proxy: bool) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V6(six) if !proxy => {
                IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << (128 - SITE))))
            }
            address => address,
        };
        Self { address, proxy }
    }

    /// Has it no share of its own?
    pub(super) fn is_proxy(&self) -> bool {
        self.proxy
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V6(six) if !self.proxy => write!(f, "{six}/{SITE}"),
            address => write!(f, "{address}"),
        }
    }
}

impl Held {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept.load(Relaxed)
    }

    pub(super) fn add(&self, bytes: u64, kept: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        if kept > 0 {
            self.kept.fetch_add(kept, Relaxed);
        }
    }

    pub(super) fn give(&self, bytes: u64, kept: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
        if kept > 0 {
            self.kept.fetch_sub(kept, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_one_party_and_a_proxy_another() {
        let party = |text: &str, proxy| Party::new(text.parse().unwrap(), proxy);
        assert_eq!(party("192.0.2.1", false), party("::ffff:192.0.2.1", false));
        assert_ne!(party("192.0.2.1", false), party("192.0.2.2", false));
        assert_eq!(party("2001:db8::1", false), party("2001:db8::ffff:0:0:2", false));
        assert_ne!(party("2001:db8::1", false), party("2001:db8:0:1::1", false));
        assert_ne!(party("2001:db8::1", true), party("2001:db8::2", true));
        assert_ne!(party("192.0.2.1", true), party("192.0.2.1", false));
        assert_eq!(party("2001:db8::1", false).to_string(), "2001:db8::/64");
        assert_eq!(party("::ffff:192.0.2.1", false).to_string(), "192.0.2.1");
    }
}
