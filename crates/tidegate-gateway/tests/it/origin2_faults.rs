//! Origins that fail in HTTP/2, frame by frame.

use tokio::io::AsyncReadExt;

use crate::script::Script;
use crate::stand::{Stand, bounded, eventually, get, post};
use crate::wire::Wire;

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END: u8 = 0x4 | 0x1;

const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// One connection of an origin.
struct Line(Wire);

impl Line {
    async fn accept(script: &Script) -> Self {
        let mut line = Self(script.accept().await);
        assert_eq!(line.0.bytes(24).await, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        line.frame(SETTINGS, 0, 0, &[]).await;
        line
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.send([&head, payload].concat()).await;
    }

    /// The stream of the next request, with the bytes of its body if it has one.
    async fn request(&mut self) -> (u32, Vec<u8>) {
        let (mut stream, mut body) = (0, Vec::new());
        loop {
            let head = self.0.bytes(9).await;
            assert_eq!(head.len(), 9, "the connection ended without a request");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let payload = self.0.bytes(length as usize).await;
            match head[3] {
                HEADERS => stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                0 => body.extend(payload),
                SETTINGS if head[4] == 0 => self.frame(SETTINGS, 1, 0, &[]).await,
                _ => {}
            }
            if head[3] <= HEADERS && head[4] & 1 == 1 {
                return (stream, body);
            }
        }
    }

    /// `:status 200`, without a body.
    async fn answer(&mut self, stream: u32) {
        self.frame(HEADERS, END, stream, &[0x88]).await;
    }

    async fn reset(&mut self, stream: u32, reason: u32) {
        self.frame(RESET, 0, stream, &reason.to_be_bytes()).await;
    }

    /// The connection ends, and no stream after `last` was processed.
    async fn go_away(&mut self, last: u32) {
        self.frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()).await;
    }

    async fn end(mut self) {
        bounded("the end", async { while self.0.stream.read_u8().await.is_ok() {} }).await;
    }
}

async fn stand(script: &Script) -> Stand {
    Stand::facing(script, "limit = 1\norigin-http2 = true").await
}

fn repeats(stand: &Stand) -> f64 {
    stand.metric("tidegate_origin_repeats_total")
}

#[tokio::test]
async fn what_was_refused_is_sent_once_more() {
    let script = Script::start().await;
    let stand = stand(&script).await;
    let mut client = stand.connect().await;
    client.send(post("/pay", "once")).await;
    let mut origin = Line::accept(&script).await;
    let (first, body) = origin.request().await;
    assert_eq!(body, b"once");
    origin.reset(first, REFUSED_STREAM).await;
    let (second, body) = origin.request().await;
    assert_eq!(body, b"once");
    origin.answer(second).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(repeats(&stand), 1.0);
    // And not a third time.
    client.send(get("/")).await;
    for _ in 0..2 {
        let (stream, _) = origin.request().await;
        origin.reset(stream, REFUSED_STREAM).await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.reason().as_str()), (502, "origin_down"));
    assert_eq!((repeats(&stand), stand.in_flight()), (2.0, 0));
    // A body that has been passed on cannot be.
    client
        .send("POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        .await;
    let (stream, _) = origin.request().await;
    origin.reset(stream, REFUSED_STREAM).await;
    assert_eq!(client.answer().await.status, 502);
    assert_eq!((repeats(&stand), stand.metric("tidegate_origin_dials_total")), (2.0, 1.0));
}

#[tokio::test]
async fn what_a_goaway_leaves_out_is_sent_on_another_connection() {
    let script = Script::start().await;
    let stand = stand(&script).await;
    let mut client = stand.connect().await;
    client.send(get("/first")).await;
    let mut origin = Line::accept(&script).await;
    let (first, _) = origin.request().await;
    origin.answer(first).await;
    assert_eq!(client.answer().await.status, 200);
    client.send(post("/second", "body")).await;
    let (second, _) = origin.request().await;
    assert!(second > first);
    origin.go_away(first).await;
    let mut other = Line::accept(&script).await;
    let (stream, body) = other.request().await;
    assert_eq!(body, b"body");
    other.answer(stream).await;
    assert_eq!(client.answer().await.status, 200);
    origin.end().await;
    assert_eq!((repeats(&stand), stand.metric("tidegate_origin_dials_total")), (1.0, 2.0));
    // One that it has processed is not repeated.
    client.send(post("/third", "body")).await;
    let (stream, _) = other.request().await;
    other.go_away(stream).await;
    drop(other);
    assert_eq!(client.answer().await.status, 502);
    assert_eq!((repeats(&stand), stand.in_flight()), (1.0, 0));
}

#[tokio::test]
async fn a_kept_connection_that_dies_costs_one_repeat_where_that_is_safe() {
    let script = Script::start().await;
    let stand = stand(&script).await;
    for (request, repeated) in [(get("/x"), true), (post("/x", "body"), false)] {
        let mut client = stand.connect().await;
        client.send(get("/first")).await;
        let mut origin = Line::accept(&script).await;
        let (stream, _) = origin.request().await;
        origin.answer(stream).await;
        assert_eq!(client.answer().await.status, 200);
        client.send(&request).await;
        origin.request().await;
        drop(origin);
        if repeated {
            let mut other = Line::accept(&script).await;
            other.request().await;
            // No third time.
            drop(other);
        }
        assert_eq!(client.answer().await.status, 502);
    }
    assert_eq!((repeats(&stand), stand.in_flight()), (1.0, 0));
}

#[tokio::test]
async fn a_reset_frees_the_permit_at_once() {
    let script = Script::start().await;
    let stand = stand(&script).await;
    let mut client = stand.connect().await;
    client.send(get("/x")).await;
    let mut origin = Line::accept(&script).await;
    let (stream, _) = origin.request().await;
    let mut next = stand.connect().await;
    next.send(get("/next")).await;
    eventually("the next one waits", || stand.waiting() == 1).await;
    origin.reset(stream, INTERNAL_ERROR).await;
    assert_eq!(client.answer().await.status, 502);
    // Also in the middle of an answer.
    let (stream, _) = origin.request().await;
    origin.frame(HEADERS, END & !1, stream, &[0x88]).await;
    origin.frame(0, 0, stream, b"begin").await;
    assert_eq!(next.head().await.unwrap().0, 200);
    assert_eq!(stand.in_flight(), 1);
    origin.reset(stream, INTERNAL_ERROR).await;
    eventually("the permit is back", || stand.in_flight() == 0).await;
    assert!(!next.rest().await.ends_with(b"0\r\n\r\n"), "a broken answer passed for a whole one");
    assert_eq!(repeats(&stand), 0.0);
}

#[tokio::test]
async fn those_that_wait_for_the_same_dial_share_its_failure() {
    // It takes connections, and never says a word of TLS.
    let script = Script::start().await;
    let url = script.to_string().replace("http://127.0.0.1", "https://localhost");
    let words = "limit = 20\norigin-http2 = true\nconnect-timeout = '3s'";
    let stand = Stand::facing(url, words).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = stand.connect().await;
        client.send(get("/")).await;
        clients.push(client);
    }
    eventually("all are on their way", || stand.in_flight() == 20).await;
    for client in &mut clients {
        assert_eq!(client.answer().await.reason(), "origin_timeout");
    }
    let dials = stand.metric("tidegate_origin_dials_total");
    assert!(dials < 5.0, "{dials} dials, one after the other");
    assert_eq!(stand.in_flight(), 0);
}
