//! [`Fields`]: which fields of interest a head has, found in one look over their names.
//!
//! Most heads have few fields and almost none of those that the gateway acts on. One look is cheaper than a search
//! in the map for each of them, for each must be hashed to be found missing.

use std::ops::BitOr;

use http::HeaderMap;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, ETAG,
    EXPECT, FORWARDED, HOST, HeaderName, LAST_MODIFIED, MAX_FORWARDS, SERVER, TE, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT, VIA,
};

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(u32);

impl Fields {
    pub(crate) const HOST: Self = Self(1);
    pub(crate) const COOKIE: Self = Self(1 << 1);
    pub(crate) const VIA: Self = Self(1 << 2);
    pub(crate) const TE: Self = Self(1 << 3);
    pub(crate) const EXPECT: Self = Self(1 << 4);
    pub(crate) const PROXY: Self = Self(1 << 5);
    pub(crate) const CONNECTION: Self = Self(1 << 6);
    pub(crate) const UPGRADE: Self = Self(1 << 7);
    /// `Keep-Alive`, `Proxy-Connection`, `Transfer-Encoding`: what concerns one connection only, like the two above.
    pub(crate) const ONE_HOP: Self = Self(1 << 8);
    pub(crate) const FORWARDED: Self = Self(1 << 9);
    pub(crate) const X_FORWARDED_FOR: Self = Self(1 << 10);
    pub(crate) const X_FORWARDED_PROTO: Self = Self(1 << 11);
    pub(crate) const X_FORWARDED_HOST: Self = Self(1 << 12);
    pub(crate) const CONTENT_TYPE: Self = Self(1 << 13);
    pub(crate) const CONTENT_LENGTH: Self = Self(1 << 14);
    /// What a client says about the importance of its request.
    pub(crate) const CLASS: Self = Self(1 << 15);
    /// What a client says about the time it has.
    pub(crate) const TIME: Self = Self(1 << 16);
    /// What tells a person's request from a program's.
    pub(crate) const AUDIENCE: Self = Self(1 << 17);
    /// What an origin says about its load.
    pub(crate) const LOAD: Self = Self(1 << 18);
    pub(crate) const MAX_FORWARDS: Self = Self(1 << 19);

    /// Those among `headers`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::default(), |all, name| all | Self::named(name))
    }

    /// Is any of `these` there?
    pub(crate) const fn has(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }

    /// The standard names first: the compiler makes one jump of these comparisons, while a name's text must be fetched.
    fn named(name: &HeaderName) -> Self {
        match name {
            name if name == HOST => Self::HOST,
            name if name == ACCEPT => Self::AUDIENCE,
            name if name == CONNECTION => Self::CONNECTION,
            name if name == CONTENT_TYPE => Self::CONTENT_TYPE,
            name if name == CONTENT_LENGTH => Self::CONTENT_LENGTH,
            name if name == COOKIE => Self::COOKIE,
            name if name == EXPECT => Self::EXPECT,
            name if name == FORWARDED => Self::FORWARDED,
            name if name == MAX_FORWARDS => Self::MAX_FORWARDS,
            name if name == TE => Self::TE,
            name if name == TRANSFER_ENCODING => Self::ONE_HOP,
            name if name == UPGRADE => Self::UPGRADE,
            name if name == VIA => Self::VIA,
            name if is_usual(name) => Self::default(),
            name => Self::custom(name.as_str()),
        }
    }

    /// By length first, which tells most of them apart.
    fn custom(name: &str) -> Self {
        match name.len() {
            5 if name == "proxy" => Self::PROXY,
            6 if name == "prefer" => Self::TIME,
            7 if name == "purpose" => Self::CLASS,
            8 if name == "priority" => Self::CLASS,
            10 => match name {
                "keep-alive" => Self::ONE_HOP,
                "x-inflight" => Self::LOAD,
                _ => Self::default(),
            },
            11 if name == "sec-purpose" => Self::CLASS,
            12 if name == "grpc-timeout" => Self::TIME,
            14 if name == "sec-fetch-mode" => Self::AUDIENCE,
            15 if name == "x-forwarded-for" => Self::X_FORWARDED_FOR,
            16 => match name {
                "x-forwarded-host" => Self::X_FORWARDED_HOST,
                "proxy-connection" => Self::ONE_HOP,
                _ => Self::default(),
            },
            17 => match name {
                "x-forwarded-proto" => Self::X_FORWARDED_PROTO,
                "x-request-timeout" => Self::TIME,
                _ => Self::default(),
            },
            21 if name == "endpoint-load-metrics" => Self::LOAD,
            _ => Self::default(),
        }
    }
}

/// Is it one that many heads have, and none of interest?
fn is_usual(name: &HeaderName) -> bool {
    name == USER_AGENT
        || name == ACCEPT_ENCODING
        || name == SERVER
        || name == DATE
        || name == LAST_MODIFIED
        || name == ETAG
        || name == ACCEPT_RANGES
}

impl BitOr for Fields {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_field_is_found_and_no_other() {
        let all = [
            ("Host", Fields::HOST),
            ("Cookie", Fields::COOKIE),
            ("Via", Fields::VIA),
            ("TE", Fields::TE),
            ("Expect", Fields::EXPECT),
            ("Proxy", Fields::PROXY),
            ("Connection", Fields::CONNECTION),
            ("Upgrade", Fields::UPGRADE),
            ("Keep-Alive", Fields::ONE_HOP),
            ("Proxy-Connection", Fields::ONE_HOP),
            ("Transfer-Encoding", Fields::ONE_HOP),
            ("Forwarded", Fields::FORWARDED),
            ("X-Forwarded-For", Fields::X_FORWARDED_FOR),
            ("X-Forwarded-Proto", Fields::X_FORWARDED_PROTO),
            ("X-Forwarded-Host", Fields::X_FORWARDED_HOST),
            ("Content-Type", Fields::CONTENT_TYPE),
            ("Content-Length", Fields::CONTENT_LENGTH),
            ("Sec-Purpose", Fields::CLASS),
            ("Purpose", Fields::CLASS),
            ("Priority", Fields::CLASS),
            ("Grpc-Timeout", Fields::TIME),
            ("X-Request-Timeout", Fields::TIME),
            ("Prefer", Fields::TIME),
            ("Accept", Fields::AUDIENCE),
            ("X-Inflight", Fields::LOAD),
            ("Endpoint-Load-Metrics", Fields::LOAD),
            ("Sec-Fetch-Mode", Fields::AUDIENCE),
            ("Max-Forwards", Fields::MAX_FORWARDS),
        ];
        let none = HeaderValue::from_static("-");
        for (name, field) in all {
            let name: HeaderName = name.parse().unwrap();
            let headers = HeaderMap::from_iter([(name, none.clone())]);
            assert_eq!(Fields::of(&headers), field);
        }
        for name in ["accepts", "user-agent", "x", "ho", "date", "server", "x-forwarded-fox", "content-typo"]
        {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), none.clone())]);
            assert_eq!(Fields::of(&headers), Fields::default(), "{name}");
        }
        assert!(Fields::of(&HeaderMap::new()) == Fields::default());
    }
}
