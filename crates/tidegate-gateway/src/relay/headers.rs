//! The fields of a head on its way (RFC 9110 §7.6, RFC 9112 §3.2, RFC 9113 §8.2.2, RFC 7239).

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, FORWARDED, HOST, HeaderName, TE, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, request, response};

use crate::listen::{Client, Protocol};

use super::fields::Fields;

/// Fields that concern one connection only, besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];
/// Fields that only a trusted proxy may have written.
const FORWARDING: [HeaderName; 4] = [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST];
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// A request field that CGI programs take for their own proxy's address (httpoxy, CVE-2016-5385).
const PROXY: HeaderName = HeaderName::from_static("proxy");

static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");
static VIA_10: HeaderValue = HeaderValue::from_static("1.0 tidegate");
static VIA_11: HeaderValue = HeaderValue::from_static("1.1 tidegate");
static VIA_2: HeaderValue = HeaderValue::from_static("2 tidegate");

/// How requests are spoken to the origin.
#[derive(Clone, Debug)]
pub(crate) struct ToOrigin {
    pub(crate) http2: bool,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// What of a request cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) &'static str);

impl ToOrigin {
    /// Turns a client's head into the one the origin gets. `trusted`: the peer's forwarding fields are believed.
    /// `fields`: those of its head. `upgrade`: the request may become another protocol.
    pub(crate) fn rewrite(
        &self,
        head: &mut request::Parts,
        client: &Client,
        fields: Fields,
        trusted: bool,
        upgrade: bool,
    ) -> Result<(), Unfit> {
        let host = host_of(head, fields)?;
        let wanted = if upgrade { head.headers.get(UPGRADE).cloned() } else { None };
        let trailers = fields.has(Fields::TE) && wants_trailers(&head.headers);
        let came_as = head.version;
        // What `Connection` names may be anything, so after it nothing is known without another look.
        let named = strip_hop_by_hop(&mut head.headers, fields);
        let fields = if named { Fields::of(&head.headers) } else { fields };
        // `Expect` we answered, or will.
        if fields.has(Fields::EXPECT | Fields::TE | Fields::PROXY) {
            strip(&mut head.headers, |name| [EXPECT, TE, PROXY].contains(name));
        }
        if trailers {
            head.headers.insert(TE, HeaderValue::from_static("trailers"));
            if !self.http2 {
                head.headers.append(CONNECTION, HeaderValue::from_static("te")); // RFC 9110 §10.1.4
            }
        }
        if let Some(wanted) = wanted {
            head.headers.insert(UPGRADE, wanted);
            head.headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        forward(&mut head.headers, fields, client, trusted, host.as_ref());
        add_via(&mut head.headers, fields, came_as);
        if fields.has(Fields::COOKIE) {
            join_cookies(&mut head.headers);
        }
        let path =
            |uri: &Uri| uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        if self.http2 {
            head.headers.remove(HOST);
            let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
            head.uri = Uri::builder()
                .scheme(self.scheme.clone())
                .authority(authority.unwrap_or_else(|| self.authority.clone()))
                .path_and_query(path(&head.uri))
                .build()
                .map_err(|_| Unfit("the request target cannot be passed on"))?;
            head.version = Version::HTTP_2;
        } else {
            // Mostly the field that stands there already. HTTP/2 may have sent several.
            let stands = fields.has(Fields::HOST) && host.is_some() && came_as != Version::HTTP_2;
            if !stands || head.uri.authority().is_some() {
                let host = host.or_else(|| HeaderValue::from_str(self.authority.as_str()).ok());
                if let Some(host) = host {
                    head.headers.insert(HOST, host);
                }
            }
            if head.uri.authority().is_some() || head.uri.path_and_query().is_none() {
                head.uri = Uri::from(path(&head.uri));
            }
            head.version = Version::HTTP_11;
        }
        Ok(())
    }
}

/// Turns the origin's head, which has these `fields`, into the one the client gets. `upgraded`: this answer changes
/// the protocol.
pub(crate) fn to_client(head: &mut response::Parts, fields: Fields, to: Protocol, upgraded: bool) {
    let wanted = if upgraded { head.headers.get(UPGRADE).cloned() } else { None };
    strip_hop_by_hop(&mut head.headers, fields);
    // These have no body (RFC 9110 §8.6). HTTP/2 clients take a length for a promise that is broken. A 304 may say one:
    // that of the answer it stands for.
    if fields.has(Fields::CONTENT_LENGTH)
        && (head.status.is_informational() || head.status == StatusCode::NO_CONTENT)
    {
        head.headers.remove(CONTENT_LENGTH);
    }
    if let Some(wanted) = wanted {
        head.headers.insert(UPGRADE, wanted);
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    add_via(&mut head.headers, fields, head.version);
    head.version = match to {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::Http2 => Version::HTTP_2,
    };
}

/// What the request is for: a target with an authority counts more than `Host` (RFC 9112 §3.2.2).
fn host_of(head: &request::Parts, fields: Fields) -> Result<Option<HeaderValue>, Unfit> {
    if let Some(authority) = head.uri.authority() {
        if authority.as_str().contains('@') {
            return Err(Unfit("the request target has a user name"));
        }
        if head.version == Version::HTTP_2 {
            for host in head.headers.get_all(HOST) {
                if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) {
                    return Err(Unfit("Host and :authority differ"));
                }
            }
        }
        return Ok(HeaderValue::from_str(authority.as_str()).ok());
    }
    if head.version == Version::HTTP_2 && head.headers.get_all(HOST).iter().count() != 1 {
        // HTTP/1's own rule, which hyper holds to, and RFC 9113 §8.3.1 has too.
        return Err(Unfit("neither :authority nor one Host"));
    }
    if !fields.has(Fields::HOST) {
        return Ok(None);
    }
    // Most clients say it first, where it is found without a search.
    let host = match head.headers.iter().next() {
        Some((name, host)) if *name == HOST => Some(host),
        _ => head.headers.get(HOST),
    };
    let host = host.filter(|host| !host.is_empty());
    let is_host = |host: &&HeaderValue| {
        let bytes = host.as_bytes();
        is_plain(bytes) || (!bytes.contains(&b'@') && Authority::try_from(bytes).is_ok())
    };
    match host {
        Some(host) if !is_host(&host) => Err(Unfit("Host is not a host")),
        host => Ok(host.cloned()),
    }
}

/// Is it a name or an IPv4 address, perhaps with a port, as almost every host is? Other hosts take a closer look.
fn is_plain(host: &[u8]) -> bool {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let end = host.iter().position(|byte| !name(byte)).unwrap_or(host.len());
    let (host, port) = host.split_at(end);
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => matches!(digits.len(), 1..=5) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && port_fits
}

/// Does an HTTP/1.1 request ask for another protocol (RFC 9110 §7.8)? HTTP/2 in clear is not passed on, not even
/// as one of several: requests inside it would not come through the door.
pub(crate) fn wants_upgrade(head: &request::Parts) -> bool {
    let lists = |field, wanted: &str| {
        head.headers.get_all(field).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|list| list.split(',').any(|name| name.trim().eq_ignore_ascii_case(wanted)))
        })
    };
    head.version == Version::HTTP_11 && !lists(UPGRADE, "h2c") && lists(CONNECTION, "upgrade")
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|part| part.trim().split(';').next() == Some("trailers")))
}

/// Returns whether fields that `Connection` names were removed too.
fn strip_hop_by_hop(headers: &mut HeaderMap, fields: Fields) -> bool {
    let mut some = false;
    if fields.has(Fields::CONNECTION) && !strip_keep_alive(headers) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            // It goes anyway.
            .filter(|name| !name.eq_ignore_ascii_case("keep-alive"))
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            // Whoever names these wants the origin to see less than we do.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH && *name != TE)
            .collect();
        for name in named {
            some |= headers.remove(name).is_some();
        }
        headers.remove(CONNECTION);
    }
    if fields.has(Fields::UPGRADE | Fields::ONE_HOP) {
        strip(headers, |name| HOP_BY_HOP.contains(name));
    }
    some
}

/// Removes a `Connection` that says nothing else than most of those say that have one at all. True if it was so.
fn strip_keep_alive(headers: &mut HeaderMap) -> bool {
    let keep_alive = |line: &HeaderValue| line.as_bytes().eq_ignore_ascii_case(b"keep-alive");
    if headers.len() == headers.keys_len() {
        // No field has two lines. Taking it out at once spares a second search.
        let line = headers.remove(CONNECTION);
        return match line {
            Some(line) if !keep_alive(&line) => {
                headers.insert(CONNECTION, line);
                false
            }
            line => line.is_some(),
        };
    }
    let Entry::Occupied(said) = headers.entry(CONNECTION) else { return false };
    let mut lines = said.iter();
    let only = lines.next().is_some_and(keep_alive) && lines.next().is_none();
    if only {
        said.remove();
    }
    only
}

/// Removes the fields that are `unwanted`. Heads have few fields, and mostly none of these: one look over their names
/// is cheaper than a search for every unwanted one.
fn strip(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| unwanted(name)).cloned() {
        headers.remove(name);
    }
}

fn forward(
    headers: &mut HeaderMap,
    fields: Fields,
    client: &Client,
    trusted: bool,
    host: Option<&HeaderValue>,
) {
    let any =
        Fields::FORWARDED | Fields::X_FORWARDED_FOR | Fields::X_FORWARDED_PROTO | Fields::X_FORWARDED_HOST;
    if !trusted && fields.has(any) {
        strip(headers, |name| FORWARDING.contains(name));
    }
    let there = |field| trusted && fields.has(field);
    if there(Fields::X_FORWARDED_FOR) {
        append(headers, X_FORWARDED_FOR, &client.peer.ip().to_canonical().to_string());
    } else {
        headers.insert(X_FORWARDED_FOR, client.forwarded_for.clone());
    }
    let proto = if client.tls { &HTTPS } else { &HTTP };
    if !there(Fields::X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, proto.clone());
    }
    if let Some(host) = host.filter(|_| !there(Fields::X_FORWARDED_HOST)) {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if there(Fields::FORWARDED) {
        let node = match client.peer.ip().to_canonical() {
            IpAddr::V4(four) => four.to_string(),
            IpAddr::V6(six) => format!("\"[{six}]\""),
        };
        let proto = if client.tls { "https" } else { "http" };
        append(headers, FORWARDED, &format!("for={node};proto={proto}"));
    }
}

/// Says in which version the message came (RFC 9110 §7.6.3). `fields`: those of its head.
fn add_via(headers: &mut HeaderMap, fields: Fields, came_as: Version) {
    let element = match came_as {
        Version::HTTP_2 => &VIA_2,
        Version::HTTP_10 => &VIA_10,
        _ => &VIA_11,
    };
    if fields.has(Fields::VIA) {
        if let Ok(element) = element.to_str() {
            append(headers, VIA, element);
        }
    } else {
        headers.insert(VIA, element.clone());
    }
}

/// Adds an element to a list field, all of whose elements become one line.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

/// HTTP/2 may send cookies one by one; HTTP/1 must not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(_)) = (cookies.next(), cookies.next()) {
        let mut joined = first.as_bytes().to_vec();
        for cookie in headers.get_all(COOKIE).iter().skip(1) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(cookie.as_bytes());
        }
        if let Ok(value) = HeaderValue::from_bytes(&joined) {
            headers.insert(COOKIE, value);
        }
    }
}
