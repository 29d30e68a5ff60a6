//! [`TrustedPeers`]: whose forwarding fields are believed.

use std::net::IpAddr;
use std::str::FromStr;

/// Networks of proxies whose `Forwarded` and `X-Forwarded-*` fields are believed. Empty by default: anybody can
/// write such fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    networks: Vec<Network>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    base: u128,
    mask: u128,
}

/// The text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network: write 10.0.0.1, 10.0.0.0/8 or fd00::/8")]
pub struct PeersError(String);

impl TrustedPeers {
    /// Trusts these networks.
    ///
    /// # Errors
    /// If one is not an address or a network.
    pub fn new<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, PeersError> {
        let networks = networks.into_iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>()?;
        Ok(Self { networks })
    }

    /// Is this peer one of them?
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        let bits = bits(peer);
        self.networks.iter().any(|network| bits & network.mask == network.base)
    }
}

impl FromStr for Network {
    type Err = PeersError;

    fn from_str(text: &str) -> Result<Self, PeersError> {
        let wrong = || PeersError(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most: u32 = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => length.parse().ok().filter(|length| *length <= most).ok_or_else(wrong)?,
            None => most,
        };
        // Networks of IPv4 are the mapped ones of IPv6.
        let host_bits = most - length;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Ok(Self { base: bits(address) & mask, mask })
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().to_bits(),
        IpAddr::V6(six) => six.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_in_either_notation() {
        let peers = TrustedPeers::new(["10.0.0.0/8", "192.0.2.7", "fd00::/8"]).unwrap();
        for (address, trusted) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(peers.contains(address.parse().unwrap()), trusted, "{address}");
        }
        assert!(TrustedPeers::new(["0.0.0.0/0"]).unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(!TrustedPeers::new(["0.0.0.0/0"]).unwrap().contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "a", "10.0.0.0/-1", "::/129"] {
            let error = TrustedPeers::new([text]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
