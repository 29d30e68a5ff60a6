//! Looks at the bytes of an HTTP/1 connection before hyper does, and finds heads that could be read in two ways.
//!
//! hyper tolerates some of them in silence (it drops a `Content-Length` that follows a `Transfer-Encoding`, takes a
//! bare LF for a line's end) and answers others without a body. A gateway must refuse them all (RFC 9112 §§2.2, 5.2,
//! 6.3, 11.2). What follows a head is walked over, not looked at, so that the next head is found.

use std::mem::MaybeUninit;

use super::Fault;
use super::plain::{Plain, is_plain_target, plain};

/// The most bytes of one chunk's size line, extensions included, and of a trailer section: nobody needs more.
const CHUNK_LINE: usize = 1024;
const TRAILERS: usize = 8 * 1024;
/// More fields than any setting allows are too many to parse.
const MOST_FIELDS: usize = 256;

/// Where in the stream of messages a connection is.
#[derive(Debug)]
pub(super) struct Screen {
    state: State,
    head_bytes: usize,
    head_fields: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A head comes next; this many of its bytes were searched for its end.
    Head { searched: usize },
    /// So many bytes of a body of known length are left.
    Sized(u64),
    /// A chunk's size line.
    ChunkSize { size: u64, digits: u8, line: usize, extension: bool, cr: bool },
    /// So many bytes of a chunk, and its line end, are left.
    Chunk(u64),
    /// Trailers: bytes so far, and how many bytes of CRLF CRLF were seen.
    Trailers { bytes: usize, matched: u8 },
    /// Another protocol from here on.
    Opaque,
}

/// What the screen says to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first `passed` may go on; the rest is the begin of a head that is not complete.
    Pass { passed: usize },
    /// The first `passed` may go on; then comes a head that must be refused.
    Refuse { passed: usize, fault: Fault },
    /// A body's framing is broken; nothing more can be understood.
    Broken,
}

impl Screen {
    pub(super) fn new(head_bytes: usize, head_fields: usize) -> Self {
        Self { state: State::Head { searched: 0 }, head_bytes, head_fields: head_fields.min(MOST_FIELDS) }
    }

    /// The most bytes of a head.
    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Does a head come next?
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Will nothing be looked at any more?
    pub(super) fn is_opaque(&self) -> bool {
        self.state == State::Opaque
    }

    /// Looks at `bytes`, which begin where the last verdict's `passed` ended.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Verdict {
        let mut at = 0;
        loop {
            let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else {
                return Verdict::Pass { passed: at };
            };
            match self.state {
                State::Opaque => return Verdict::Pass { passed: bytes.len() },
                State::Head { searched } => match self.look_at_head(rest, searched) {
                    Ok(Some(length)) => at += length,
                    Ok(None) => return Verdict::Pass { passed: at },
                    Err(fault) => return Verdict::Refuse { passed: at, fault },
                },
                State::Sized(left) | State::Chunk(left) => {
                    let taken = left.min(rest.len() as u64);
                    at += taken as usize; // at most rest.len()
                    let left = left - taken;
                    self.state = match self.state {
                        State::Sized(_) if left == 0 => State::Head { searched: 0 },
                        State::Sized(_) => State::Sized(left),
                        _ if left == 0 => State::chunk_size(),
                        _ => State::Chunk(left),
                    };
                }
                State::ChunkSize { .. } | State::Trailers { .. } => {
                    let Some(byte) = rest.first() else { continue };
                    match self.step(*byte) {
                        Some(state) => self.state = state,
                        None => return Verdict::Broken,
                    }
                    at += 1;
                }
            }
        }
    }

    /// One byte of a chunk's size line or of the trailers; `None` if it is not allowed there.
    fn step(&self, byte: u8) -> Option<State> {
        match self.state {
            State::ChunkSize { size, digits, line, extension, cr } => {
                if line >= CHUNK_LINE {
                    return None;
                }
                let line = line + 1;
                match byte {
                    b'\n' if cr && digits > 0 && size == 0 => Some(State::Trailers { bytes: 0, matched: 2 }),
                    b'\n' if cr && digits > 0 => Some(State::Chunk(size.checked_add(2)?)),
                    _ if cr => None,
                    b'\r' => Some(State::ChunkSize { size, digits, line, extension, cr: true }),
                    b'\n' => None,
                    _ if extension => Some(State::ChunkSize { size, digits, line, extension, cr }),
                    b';' | b' ' | b'\t' if digits > 0 => {
                        Some(State::ChunkSize { size, digits, line, extension: true, cr })
                    }
                    _ => {
                        let digit = char::from(byte).to_digit(16)?;
                        // Fifteen digits are an exabyte; more could overflow.
                        (digits < 15).then_some(State::ChunkSize {
                            size: size * 16 + u64::from(digit),
                            digits: digits + 1,
                            line,
                            extension,
                            cr,
                        })
                    }
                }
            }
            State::Trailers { bytes, matched } => {
                if bytes >= TRAILERS {
                    return None;
                }
                let matched = match (byte, matched) {
                    (b'\r', 0) => 1,
                    (b'\n', 1) => 2,
                    (b'\r', 2) => 3,
                    (b'\n', 3) => return Some(State::Head { searched: 0 }),
                    (b'\r' | b'\n', _) | (_, 1 | 3) => return None,
                    _ => 0,
                };
                Some(State::Trailers { bytes: bytes + 1, matched })
            }
            _ => None,
        }
    }

    /// The length of the head at the begin of `bytes`, if it is complete.
    fn look_at_head(&mut self, bytes: &[u8], searched: usize) -> Result<Option<usize>, Fault> {
        let usual = if searched == 0 { plain(bytes, self.head_fields) } else { None };
        if let Some(Plain { length, body }) = usual.filter(|head| head.length <= self.head_bytes) {
            self.state = State::after_head(body);
            return Ok(Some(length));
        }
        // What cannot become a method is not waited for.
        if !may_be_http1(bytes) {
            return Err(Fault::Malformed("the request line is not HTTP/1"));
        }
        let blank = blank(bytes);
        let mut from = searched.max(blank);
        while let Some(found) = bytes.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let end = from + found;
            if end == 0 || bytes.get(end - 1) != Some(&b'\r') {
                return Err(Fault::Malformed("a line of the head ends with a bare LF"));
            }
            if bytes.get(end.saturating_sub(3)..end.saturating_sub(1)) == Some(b"\r\n") {
                let length = end + 1;
                if length > self.head_bytes {
                    return Err(Fault::HeadTooLarge);
                }
                self.state = self.judge(bytes.get(blank..length).unwrap_or_default())?;
                return Ok(Some(length));
            }
            if matches!(bytes.get(end + 1), Some(b' ' | b'\t')) {
                return Err(Fault::Malformed("a field of the head is folded over two lines"));
            }
            from = end + 1;
        }
        if bytes.len() > self.head_bytes {
            return Err(Fault::HeadTooLarge);
        }
        // A fold may begin with the next byte, so the last line is searched again.
        self.state = State::Head { searched: bytes.len().saturating_sub(1).min(from) };
        Ok(None)
    }

    /// Judges a complete head; the state that its framing leads to.
    fn judge(&self, head: &[u8]) -> Result<State, Fault> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(head, &mut fields) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Fault::Malformed("the head is not HTTP/1")),
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Err(httparse::Error::HeaderName) => return Err(Fault::Malformed("a field name is not allowed")),
            Err(httparse::Error::HeaderValue) => {
                return Err(Fault::Malformed("a field value is not allowed"));
            }
            Err(httparse::Error::Version) => {
                return Err(Fault::Malformed("the version is not HTTP/1.0 or HTTP/1.1"));
            }
            Err(_) => return Err(Fault::Malformed("the request line is not HTTP/1")),
        }
        if request.headers.len() > self.head_fields {
            return Err(Fault::HeadTooLarge);
        }
        if request
            .path
            .is_none_or(|path| !is_plain_target(path.as_bytes()) && path.parse::<http::Uri>().is_err())
        {
            return Err(Fault::Malformed("the request target is not a URI"));
        }
        let (mut length, mut chunked, mut upgrade, mut hosts) = (None, false, false, 0);
        for field in request.headers.iter() {
            let name = field.name;
            if name.eq_ignore_ascii_case("content-length") {
                if length.is_some() {
                    return Err(Fault::Malformed("two Content-Length fields"));
                }
                length = Some(content_length(field.value)?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if chunked {
                    return Err(Fault::Malformed("two Transfer-Encoding fields"));
                }
                if !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Malformed("a Transfer-Encoding other than chunked"));
                }
                chunked = true;
            } else if name.eq_ignore_ascii_case("host") {
                hosts += 1;
            } else if name.eq_ignore_ascii_case("upgrade") {
                upgrade |= is_other_protocol(field.value);
            }
        }
        let old = request.version == Some(0);
        match (length, chunked) {
            _ if hosts > 1 => Err(Fault::Malformed("two Host fields")),
            _ if hosts == 0 && !old => Err(Fault::Malformed("no Host field")),
            (Some(_), true) => Err(Fault::Malformed("both Content-Length and Transfer-Encoding")),
            (None, true) if old => Err(Fault::Malformed("Transfer-Encoding in HTTP/1.0")),
            // What follows may be another protocol; unless it becomes one, the connection closes.
            _ if upgrade || request.method == Some("CONNECT") => Ok(State::Opaque),
            (None, true) => Ok(State::chunk_size()),
            (length, _) => Ok(State::after_head(length.unwrap_or(0))),
        }
    }
}

impl State {
    /// What comes after a head that announces so many bytes.
    const fn after_head(body: u64) -> Self {
        if body > 0 { Self::Sized(body) } else { Self::Head { searched: 0 } }
    }

    const fn chunk_size() -> Self {
        Self::ChunkSize { size: 0, digits: 0, line: 0, extension: false, cr: false }
    }
}

/// Line ends before a request are allowed (RFC 9112 §2.2).
fn blank(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Can what begins like this become a request? So can nothing.
pub(super) fn may_be_http1(begin: &[u8]) -> bool {
    (begin.get(blank(begin)))
        .is_none_or(|first| first.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(first))
}

/// Does this `Upgrade` field ask for something that could become a tunnel? HTTP/2 in clear is never begun this way.
pub(super) fn is_other_protocol(value: &[u8]) -> bool {
    !value.trim_ascii().eq_ignore_ascii_case(b"h2c")
}

fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let fault = Fault::Malformed("a Content-Length that is not a number");
    let text = std::str::from_utf8(value).map_err(|_| fault)?;
    // `parse` would take a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault);
    }
    text.parse().map_err(|_| fault)
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
