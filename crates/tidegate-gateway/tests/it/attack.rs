//! Requests that could be read in two ways, that are none, or that are too large.

use tokio::io::AsyncWriteExt;

use crate::stand::{Stand, bounded, eventually, get};
use crate::wire2::{Wire2, get2};

const AMBIGUOUS: [&str; 30] = [
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
];

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let stand = Stand::new("limit = 2").await;
    for head in AMBIGUOUS {
        // Alone, after a good request on the same connection, and in small pieces.
        let answer = stand.ask(head).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "malformed"), "{head:?}");
        assert_eq!(answer.header("connection"), "close");
        let before = stand.origin.count();
        let mut wire = stand.connect().await;
        wire.send(format!("{}{head}{}", get("/good"), get("/smuggled"))).await;
        assert_eq!(wire.answer().await.status, 200);
        assert_eq!(wire.answer().await.reason(), "malformed", "{head:?}");
        assert!(wire.answer_or_end().await.is_none());
        assert_eq!(stand.origin.count(), before + 1, "{head:?}");
        let mut wire = stand.connect().await;
        for piece in head.as_bytes().chunks(5) {
            if wire.stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(wire.answer().await.status, 400, "{head:?}");
    }
    assert!(stand.origin.seen().iter().all(|seen| seen.target == "/good"));
    assert_eq!(stand.metric("tidegate_refused_total{reason=\"malformed\"}"), 90.0);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn a_chunked_body_that_breaks_its_framing_is_never_whole() {
    let stand = Stand::new("limit = 2").await;
    let head = "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "zz\r\n",
        "-1\r\n",
        "5 5\r\nhello\r\nx",
        "FFFFFFFFFFFFFFFFF\r\n",
        "0\r\nA: b\n\r\n",
        ";\r\n",
    ] {
        let mut wire = stand.connect().await;
        wire.send(format!("{head}{body}{}", get("/smuggled"))).await;
        if let Some(answer) = wire.answer_or_end().await {
            assert_eq!((answer.status, answer.reason().as_str()), (400, "malformed"), "{body:?}");
        }
        assert!(wire.answer_or_end().await.is_none(), "{body:?}");
    }
    assert!(stand.origin.seen().iter().all(|seen| seen.target == "/count"));
    stand.is_whole(2).await;
}

#[tokio::test]
async fn garbage_is_answered_and_forgotten() {
    let stand = Stand::new("limit = 2").await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a tls hello without a line end";
    let binary = b"\0\0\0\0";
    for junk in [
        &hello[..],
        binary,
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nno\r\n\r\n",
    ] {
        let answer = stand.ask(junk).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "malformed"), "{junk:?}");
    }
    assert_eq!(stand.origin.count(), 0);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn heads_have_a_size() {
    let stand = Stand::new("limit = 2").await;
    for bomb in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(200_000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(5000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(100)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(200_000)),
        "\r\n".repeat(100_000),
    ] {
        let mut wire = stand.connect().await;
        let _ = wire.stream.write_all(bomb.as_bytes()).await;
        assert_eq!(wire.answer().await.status, 431);
    }
    assert_eq!(stand.origin.count(), 0);
    let fits = format!(
        "GET /fits HTTP/1.1\r\nHost: a\r\nX: {}\r\n{}\r\n",
        "a".repeat(30_000),
        "x: y\r\n".repeat(80)
    );
    let answer = stand.ask(fits).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut client = Wire2::connect(stand.address).await;
    for (fields, length) in [(150, 1), (2, 40_000)] {
        let mut request = get2("/bomb");
        for index in 0..fields {
            let name = http::HeaderName::from_bytes(format!("x-{index}").as_bytes()).unwrap();
            request.headers_mut().insert(name, "a".repeat(length).parse().unwrap());
        }
        let (answer, _) = client.begin(request, true).await;
        assert_eq!(bounded("an answer", answer).await.unwrap().status(), 431);
    }
    assert_eq!(client.get("/hello").await.head.status, 200);
    assert_eq!(stand.origin.count(), 2);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn a_client_that_closes_its_half_leaves_no_trace() {
    let stand = Stand::new("limit = 2").await;
    for part in [
        "",
        "G",
        "GET / HTTP/1.1\r\nHo",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
        "PRI * HTTP/2.0\r\n",
    ] {
        let mut wire = stand.connect().await;
        wire.send(part).await;
        wire.stream.shutdown().await.unwrap();
        wire.rest().await;
    }
    // One that only closes its half after a whole request gets an answer, or none; never half of one.
    let mut wire = stand.connect().await;
    wire.send(get("/hello")).await;
    wire.stream.shutdown().await.unwrap();
    if let Some(answer) = wire.answer_or_end().await {
        assert!(answer.whole);
    }
    eventually("nobody is left", || stand.metric("tidegate_connections") == 0.0).await;
    stand.is_whole(2).await;
}

#[tokio::test]
async fn urgent_data_and_resets_leave_no_trace() {
    let stand = Stand::new("limit = 2").await;
    for _ in 0..20 {
        let mut wire = stand.connect().await;
        wire.send("GET /hel").await;
        wire.stream.ready(tokio::io::Interest::WRITABLE).await.unwrap();
        socket2::SockRef::from(&wire.stream).send_out_of_band(b"!").unwrap();
        let _ = wire.stream.write_all(b"lo HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.answer().await.status, 200);
        wire.send(get("/hold")).await;
        // With a linger of zero the connection is reset.
        socket2::SockRef::from(&wire.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(wire);
    }
    eventually("nobody is left", || stand.metric("tidegate_connections") == 0.0 && stand.waiting() == 0)
        .await;
    stand.origin.release(stand.origin.now());
    eventually("the origin is done", || stand.in_flight() == 0).await;
    assert!(stand.origin.peak() <= 2);
}
