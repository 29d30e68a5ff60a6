//! RFC 9113 §8: what a request is. The gate passes none on that is malformed.

use tidegate_lab::frames::{Block, Frame, code, flag};

use super::case::{Case, WHOLE, all, case};
use super::peer::{Peer, ended, get, post};
use crate::stand::Stand;

const PROTOCOL: u32 = code::PROTOCOL_ERROR;

fn head(block: Block) -> Frame {
    Frame::headers(1, WHOLE, block.bytes())
}

fn fields(fields: &[(&str, &str)]) -> Frame {
    head(fields.iter().fold(Block::new(), |block, (name, value)| block.field(name, value)))
}

fn more(name: &str, value: &str) -> Frame {
    head(Block::get("/").field(name, value))
}

/// A malformed request is an error of its stream (RFC 9113 §8.1.1).
fn malformed(name: &'static str, frame: Frame) -> Case {
    case(name).send([frame]).resets(1, PROTOCOL)
}

/// The same, where the h2 crate finds it while it reads HPACK: an error of the connection for it, as §5.4.1 allows.
fn fatal(name: &'static str, frame: Frame) -> Case {
    case(name).send([frame]).closes(PROTOCOL)
}

/// The same, where the gate answers before the stream ends, as §8.1.1 allows.
fn answered(name: &'static str, frame: Frame) -> Case {
    case(name).send([frame]).answers(1, 400)
}

#[tokio::test]
async fn a_message_is_framed() {
    let body = |size: usize| Frame::data(1, flag::END_STREAM, vec![b'x'; size]);
    let part = |size: usize| Frame::data(1, 0, vec![b'x'; size]);
    let declared = |length: &str| {
        Frame::headers(
            1,
            flag::END_HEADERS,
            Block::request("POST", "/count").field("content-length", length).bytes(),
        )
    };
    let trailers = |flags, name| Frame::headers(1, flags, Block::new().field(name, "1").bytes());
    all([
        case("8.1/1 a second HEADERS without the stream's end")
            .send([post(1, "/"), part(1), trailers(4, "x-sum"), body(1)])
            .resets(1, PROTOCOL),
        case("8.1 trailers").send([post(1, "/"), part(1), trailers(WHOLE, "x-sum")]).answers(1, 200),
        case("8.1 trailers without a body").send([post(1, "/"), trailers(WHOLE, "x-sum")]).answers(1, 200),
        // The RFC calls this malformed; the h2 crate (recv.rs, `recv_trailers`) drops the field and takes the rest, so
        // nobody sees it.
        case("8.1.2.1/3 a pseudo field among trailers")
            .send([post(1, "/"), part(1), trailers(WHOLE, ":method")])
            .answers(1, 200),
        case("8.1.2.6/1 less than was declared").send([declared("5"), body(4)]).resets(1, PROTOCOL),
        case("8.1.2.6/1 more than was declared").send([declared("5"), body(6)]).resets(1, PROTOCOL),
        case("8.1.2.6/2 less in parts").send([declared("5"), part(2), body(2)]).resets(1, PROTOCOL),
        case("8.1.2.6/2 more in parts").send([declared("5"), part(3), body(3)]).resets(1, PROTOCOL),
        case("8.1.2.6 less, and trailers")
            .send([declared("5"), part(3), trailers(WHOLE, "x-sum")])
            .resets(1, PROTOCOL),
        case("8.1.2.6 as declared").send([declared("5"), part(2), body(3)]).answers(1, 200),
        case("8.1.2.6 a length and no body").send([more("content-length", "5")]).resets(1, PROTOCOL),
        case("8.1.2.6 a length that is none").send([declared("five"), body(5)]).resets(1, PROTOCOL),
        case("8.1.2.6 two lengths")
            .send([
                Frame::headers(
                    1,
                    flag::END_HEADERS,
                    Block::request("POST", "/")
                        .field("content-length", "5")
                        .field("content-length", "6")
                        .bytes(),
                ),
                body(5),
            ])
            .resets(1, PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn fields_have_a_form() {
    all([
        fatal("8.1.2/1 a name with capitals", more("X-Test", "ok")),
        fatal("8.2.1 a name with a space", more("x test", "ok")),
        fatal("8.2.1 a name with a colon", more("x:test", "ok")),
        fatal("8.2.1 an empty name", more("", "ok")),
        fatal("8.2.1 a name beyond ASCII", more("x-\u{e9}", "ok")),
        fatal("8.2.1 a value with a line's end", more("x-test", "a\nTransfer-Encoding: chunked")),
        fatal("8.2.1 a value with a carriage return", more("x-test", "a\rb")),
        fatal("8.2.1 a value with a NUL", more("x-test", "a\0b")),
        answered("8.2.1 a value that begins with a space", more("x-test", " a")),
        answered("8.2.1 a value that ends with a tab", more("x-test", "a\t")),
        malformed("8.2.2 connection", more("connection", "keep-alive")),
        malformed("8.2.2 keep-alive", more("keep-alive", "timeout=5")),
        malformed("8.2.2 proxy-connection", more("proxy-connection", "close")),
        malformed("8.2.2 transfer-encoding", more("transfer-encoding", "chunked")),
        malformed("8.2.2 upgrade", more("upgrade", "websocket")),
        malformed("8.1.2.2/2 te with more than trailers", more("te", "trailers, deflate")),
        case("8.2.2 te with trailers").send([more("te", "trailers")]).answers(1, 200),
    ])
    .await;
}

#[tokio::test]
async fn a_request_has_its_pseudo_fields_once_and_first() {
    let (method, scheme, path) = ((":method", "GET"), (":scheme", "http"), (":path", "/"));
    let host = (":authority", "a.example");
    all([
        fatal("8.1.2.1/1 an unknown one", fields(&[method, scheme, path, (":test", "ok")])),
        malformed("8.1.2.1/2 one of a response", fields(&[method, scheme, path, (":status", "200")])),
        malformed("8.1.2.1/4 after others", fields(&[method, scheme, ("x-test", "ok"), path])),
        malformed("8.1.2.3/1 an empty path", fields(&[method, scheme, (":path", ""), host])),
        malformed("8.1.2.3/2 no method", fields(&[scheme, path, host])),
        malformed("8.1.2.3/3 no scheme", fields(&[method, path, host])),
        malformed("8.1.2.3/4 no path", fields(&[method, scheme, host])),
        malformed("8.1.2.3/5 two methods", fields(&[method, method, scheme, path, host])),
        malformed("8.1.2.3/6 two schemes", fields(&[method, scheme, scheme, path, host])),
        malformed("8.1.2.3/7 two paths", fields(&[method, scheme, path, path, host])),
        malformed("8.3.1 two authorities", fields(&[method, scheme, path, host, host])),
        malformed("8.3.1 a path that is none", fields(&[method, scheme, (":path", "no slash"), host])),
        answered("8.3.1 neither authority nor host", fields(&[method, scheme, path])),
        answered(
            "8.3.1 two hosts",
            fields(&[method, scheme, path, ("host", "a.example"), ("host", "b.example")]),
        ),
        answered("8.3.1 an authority and another host", more("host", "b.example")),
        case("8.3.1 an authority and the same host").send([more("host", "a.example")]).answers(1, 200),
        case("8.3.1 a host only")
            .send([fields(&[method, scheme, path, ("host", "a.example")])])
            .answers(1, 200),
        case("8.3.1 an asterisk, of OPTIONS")
            .send([fields(&[(":method", "OPTIONS"), scheme, (":path", "*"), host])])
            .answers(1, 200),
        malformed("8.5 CONNECT with a path", fields(&[(":method", "CONNECT"), path, ("host", "a.example")])),
        malformed("8.5 CONNECT with a scheme", fields(&[(":method", "CONNECT"), scheme, host])),
    ])
    .await;
}

#[tokio::test]
async fn nothing_malformed_reaches_the_origin() {
    let stand = Stand::new("limit = 2").await;
    let mut peer = Peer::open(&stand, &[]).await;
    let declared = Block::request("POST", "/short").field("content-length", "9").bytes();
    peer.frames([
        more("connection", "close"),
        Frame::headers(3, WHOLE, Block::get("/spaces").field("x-test", " a").bytes()),
        Frame::headers(5, flag::END_HEADERS, declared),
        Frame::data(5, flag::END_STREAM, "x"),
        get(7, "/good"),
    ])
    .await;
    assert!(peer.until(|came| [1, 3, 5, 7].iter().all(|stream| ended(came, *stream))).await);
    // The end of the connection for h2, after which nothing is read.
    let smuggled = Block::get("/smuggled").field("x-test", "a\r\nb: c").bytes();
    peer.frames([Frame::headers(9, WHOLE, smuggled), get(11, "/late")]).await;
    assert!(peer.closed().await);
    assert_eq!(stand.origin.seen().iter().map(|seen| seen.target.clone()).collect::<Vec<_>>(), ["/good"]);
    stand.is_whole(2).await;
}
