//! The screen, byte by byte and all at once.

use super::*;

/// What the screen says to `stream` when it comes in pieces of `piece` bytes: how many bytes passed, and how it ended.
fn walk(stream: &[u8], piece: usize) -> (usize, Option<Verdict>) {
    let mut screen = Screen::new(1024, 10);
    let (mut held, mut passed) = (Vec::new(), 0);
    for part in stream.chunks(piece) {
        held.extend_from_slice(part);
        match screen.look(&held) {
            Verdict::Pass { passed: some } => {
                passed += some;
                held.drain(..some);
            }
            Verdict::Refuse { passed: some, fault } => {
                return (passed + some, Some(Verdict::Refuse { passed: passed + some, fault }));
            }
            Verdict::Broken => return (passed, Some(Verdict::Broken)),
        }
    }
    (passed, None)
}

fn passes(stream: &str) {
    for piece in [1, 2, 3, 7, 64, 100_000] {
        assert_eq!(walk(stream.as_bytes(), piece), (stream.len(), None), "in pieces of {piece}: {stream:?}");
    }
}

fn refuses(good: &str, bad: &str) {
    let stream = format!("{good}{bad}GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for piece in [1, 2, 3, 7, 64, 100_000] {
        let (passed, end) = walk(stream.as_bytes(), piece);
        assert!(matches!(end, Some(Verdict::Refuse { .. })), "in pieces of {piece}: {bad:?}: {end:?}");
        assert_eq!(passed, good.len(), "in pieces of {piece}: {bad:?}");
    }
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn messages_pass_whatever_their_framing() {
    passes(GET);
    passes(&GET.repeat(3));
    passes(&format!("\r\n{GET}"));
    passes(&format!("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nhello{GET}"));
    passes(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{GET}"));
    passes(&format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n{GET}"
    ));
    passes(&format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\nz: w\r\n\r\n{GET}"
    ));
    passes("GET / HTTP/1.0\r\n\r\n");
    passes(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\n\n\0whatever\r\n\r\n",
    );
}

#[test]
fn heads_that_can_be_read_in_two_ways_are_refused() {
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello{GET}");
    for bad in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nx: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nx : y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nb(d: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nx: a\0b\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GARBAGE\r\n\r\n",
    ] {
        refuses("", bad);
        refuses(&post, bad);
    }
}

#[test]
fn heads_are_bounded_in_bytes_and_fields() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "y".repeat(1024));
    refuses(GET, &long);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(10));
    refuses(GET, &many);
    passes(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(9)));
    let (passed, end) = walk(&[b'\r', b'\n'].repeat(2000), 10);
    assert!(
        passed == 0 && matches!(end, Some(Verdict::Refuse { fault: Fault::HeadTooLarge, .. })),
        "{end:?}"
    );
}

#[test]
fn broken_bodies_are_found() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for bad in ["x\r\n", "\r\n", "5\nhello", "-1\r\n", "fffffffffffffffff\r\n", "1;\n", "0\r\nx: y\n\r\n"] {
        let stream = format!("{head}{bad}");
        for piece in [1, 3, 1000] {
            assert_eq!(walk(stream.as_bytes(), piece).1, Some(Verdict::Broken), "{bad:?}");
        }
    }
    let stream = format!("{head}5;{}", "x".repeat(5000));
    assert_eq!(walk(stream.as_bytes(), 10).1, Some(Verdict::Broken));
}

/// Whatever is taken for plain would pass the long way too, and lead to the same framing: good heads, with every byte
/// put in the place of every byte, before it, and with every piece left out or said twice.
#[test]
fn nothing_is_plain_that_is_not() {
    let good = [
        "GET /x?y HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 12\r\nhost: a\r\n\r\n",
        "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: b\r\n\r\n",
    ];
    let (screen, mut taken) = (Screen::new(1024, 10), 0);
    let mut look = |head: &[u8]| {
        let Some(Plain { length, body }) = plain(head, 10) else { return };
        taken += 1;
        let mut long = Screen::new(1024, 10);
        // From the second byte on, nothing is looked at in short.
        let passed = long.look_at_head(head, 1);
        assert_eq!(passed, Ok(Some(length)), "{:?}", String::from_utf8_lossy(head));
        assert_eq!(long.state, State::after_head(body), "{:?}", String::from_utf8_lossy(head));
        assert_eq!(screen.judge(&head[..length]), Ok(long.state));
    };
    for good in good.map(str::as_bytes) {
        for at in 0..good.len() {
            for byte in 0..=255 {
                look(&[&good[..at], &[byte], &good[at + 1..]].concat());
                look(&[&good[..at], &[byte], &good[at..]].concat());
            }
            for end in at..=good.len() {
                look(&[&good[..at], &good[end..]].concat());
                look(&[&good[..end], &good[at..]].concat());
            }
        }
    }
    assert!(taken > 10_000, "{taken}");
}
