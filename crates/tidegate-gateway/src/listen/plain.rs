//! A glance at heads in which nothing is unusual, as in almost all: one look at each byte.
//!
//! The long way finds a head's end, parses it and compares its names, which costs several times as much. This one
//! refuses nothing: what it does not take for plain goes the long way, and what it does would pass there too.

/// A head that is complete, and in which nothing is unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// Bytes of the head.
    pub(super) length: usize,
    /// Bytes of its body.
    pub(super) body: u64,
}

/// What a name (a token, RFC 9110 §5.6.2) is made of.
const NAME: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
/// What a target is made of in which no byte needs a second look.
const TARGET: [bool; 256] = letters_digits_and(b"/-._~?&=%+,:;@");
/// Longer targets and methods are unusual.
const LONG_TARGET: usize = 1024;
const LONG_METHOD: usize = 16;
/// So many digits cannot overflow.
const DIGITS: usize = 18;

const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Is this target a path, with or without a query, in which no byte needs a second look? Parsing a URI to throw it
/// away costs more than the whole head.
pub(super) fn is_plain_target(target: &[u8]) -> bool {
    target.len() <= LONG_TARGET
        && target.first() == Some(&b'/')
        && target.iter().all(|byte| TARGET[usize::from(*byte)])
}

/// The head that `bytes` begin with, if it is plain: HTTP/1.1, one `Host`, a body of known length or none, at most
/// `fields` fields.
pub(super) fn plain(bytes: &[u8], fields: usize) -> Option<Plain> {
    let mut at = request_line(bytes)?;
    let (mut left, mut hosts, mut lengths, mut body) = (fields, 0, 0, 0);
    loop {
        let line = bytes.get(at..)?;
        if line.starts_with(b"\r\n") {
            return (hosts == 1 && lengths <= 1).then_some(Plain { length: at + 2, body });
        }
        left = left.checked_sub(1)?;
        let colon = line.iter().position(|byte| !NAME[usize::from(*byte)])?;
        let (name, rest) = line.split_at_checked(colon)?;
        let rest = rest.strip_prefix(b":").filter(|_| colon > 0)?;
        let (value, after) = rest.split_at_checked(visible(rest))?;
        if !after.starts_with(b"\r\n") {
            return None;
        }
        match colon {
            4 if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            7 if name.eq_ignore_ascii_case(b"upgrade") => return None,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                lengths += 1;
                body = number(value)?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return None,
            _ => {}
        }
        at += colon + 1 + value.len() + 2;
    }
}

/// The length of a plain request line.
fn request_line(bytes: &[u8]) -> Option<usize> {
    let method = bytes.iter().take(LONG_METHOD).position(|byte| !byte.is_ascii_uppercase())?;
    let (name, rest) = bytes.split_at_checked(method)?;
    let rest = rest.strip_prefix(b" /").filter(|_| method > 0 && name != b"CONNECT")?;
    let target = rest.iter().take(LONG_TARGET).position(|byte| !TARGET[usize::from(*byte)])?;
    rest.get(target..)?.starts_with(b" HTTP/1.1\r\n").then_some(method + 2 + target + 11)
}

/// How many bytes `bytes` begin with that are visible ASCII or spaces. Eight at a time: values are most of a head.
fn visible(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = 0x80 * ONES;
    let eights = bytes.chunks_exact(8);
    let rest = eights.remainder().len();
    for (at, eight) in eights.enumerate() {
        let Ok(eight) = <[u8; 8]>::try_from(eight) else { break };
        let word = u64::from_le_bytes(eight);
        // The highest bit of a byte that is below a space, a DEL, or beyond ASCII. (A borrow can only mark bytes after one
        // that is marked rightly.)
        let low = word.wrapping_sub(0x20 * ONES) & !word;
        let del = word ^ (0x7f * ONES);
        let odd = (low | (del.wrapping_sub(ONES) & !del) | word) & HIGH;
        if odd != 0 {
            return at * 8 + odd.trailing_zeros() as usize / 8;
        }
    }
    let begin = bytes.len() - rest;
    let tail = bytes.get(begin..).unwrap_or_default();
    begin + tail.iter().position(|byte| !matches!(byte, b' '..=b'~')).unwrap_or(rest)
}

/// A number without sign, white space around it apart.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if !(1..=DIGITS).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |number: u64, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &str) -> Option<(usize, u64)> {
        plain(head.as_bytes(), 10).map(|plain| (plain.length, plain.body))
    }

    #[test]
    fn usual_heads_are_plain() {
        let get = "GET /a/b?c=d HTTP/1.1\r\nHost: a:1\r\nUser-Agent: one, two (three)\r\naccept:*/*\r\n\r\n";
        assert_eq!(of(get), Some((get.len(), 0)));
        assert_eq!(of(&format!("{get}GET ")), Some((get.len(), 0)));
        for (length, body) in [("0", 0), (" 17 ", 17), ("999999999999999999", 999_999_999_999_999_999)] {
            let post = format!("POST / HTTP/1.1\r\ncontent-Length:{length}\r\nhost: a\r\n\r\n");
            assert_eq!(of(&post), Some((post.len(), body)));
        }
    }

    #[test]
    fn unusual_heads_are_not() {
        for head in [
            "",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000000\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: \tb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: \u{e4}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        ] {
            assert_eq!(of(head), None, "{head:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(10));
        assert_eq!(of(&many), None);
        assert_eq!(of(&many.replacen("x: y\r\n", "", 1)), Some((many.len() - 6, 0)));
    }

    #[test]
    fn every_byte_is_told_in_every_place() {
        for length in 0..40 {
            for at in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let seen = if (b' '..=b'~').contains(&byte) { length } else { at };
                    assert_eq!(visible(&bytes), seen, "{byte} at {at} of {length}");
                }
            }
        }
    }
}
