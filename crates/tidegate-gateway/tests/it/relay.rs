//! What a client sends reaches the origin, and the answer the client, as HTTP/1 means it.

use http::{HeaderValue, Request};
use tokio::io::AsyncWriteExt;

use crate::stand::{Stand, bounded, eventually, get, post};
use crate::wire::Wire;
use crate::wire2::{Wire2, get2, post2, whole};

#[tokio::test]
async fn a_request_and_its_answer_pass() {
    let stand = Stand::new("").await;
    let answer = stand.get("/hello?a=1").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.header("via"), "1.1 tidegate");
    let seen = stand.origin.last();
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/hello?a=1", "a.example"));
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.header("x-forwarded-proto"), "http");
    assert_eq!(seen.header("x-forwarded-host"), "a.example");
    assert_eq!(seen.header("via"), "1.1 tidegate");
}

#[tokio::test]
async fn bodies_pass_in_either_framing_with_trailers() {
    let stand = Stand::new("").await;
    let mut wire = stand.connect().await;
    wire.send(post("/echo", "sized")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("sized", "5"));
    wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    wire.send("3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!(answer.text(), "abcdefg");
    assert_eq!(answer.trailers["x-sum"], "7");
    assert!(!stand.origin.last().headers.contains_key("content-length"));
    wire.send(get("/hello")).await;
    assert_eq!(wire.answer().await.text(), "hello");
}

#[tokio::test]
async fn a_get_may_have_a_body() {
    let stand = Stand::new("").await;
    let chunked =
        "GET /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nquery\r\n0\r\n\r\n";
    assert_eq!(stand.ask(chunked).await.text(), "query");
    assert_eq!(stand.ask(post("/echo", "query").replace("POST", "GET")).await.text(), "query");
    let mut client = Wire2::connect(stand.address).await;
    assert_eq!(client.post(get2("/echo"), b"query").await.body, b"query");
    assert_eq!(client.get("/echo").await.body, b"");
    assert_eq!(stand.origin.last().header("transfer-encoding"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_both_ways() {
    const SIZE: usize = 64 * 1024 * 1024;
    let stand = Stand::new("").await;
    let answer = bounded("64 MiB down", stand.get(&format!("/big/{SIZE}"))).await;
    assert!(answer.whole);
    assert_eq!(answer.body.len(), SIZE);
    let mut wire = stand.connect().await;
    wire.send(format!("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..64 {
        wire.send(&piece).await;
    }
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(stand.origin.last().body, Some(SIZE));
    stand.is_whole(3).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let stand = Stand::new("").await;
    let mut wire = stand.connect().await;
    let all: String = (0..20)
        .map(|index| match index % 3 {
            0 => get(&format!("/big/{index}")),
            1 => post("/echo", &format!("echo {index}")),
            _ => get("/hello"),
        })
        .collect();
    wire.send(all).await;
    for index in 0..20 {
        let text = match index % 3 {
            0 => "b".repeat(index),
            1 => format!("echo {index}"),
            _ => "hello".to_owned(),
        };
        assert_eq!(wire.answer().await.text(), text);
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_their_fields() {
    let stand = Stand::new("").await;
    let mut wire = stand.connect().await;
    wire.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = wire.answer_to_head().await;
    assert_eq!((answer.status, answer.header("content-length")), (200, "5"));
    assert_eq!(stand.origin.last().method, http::Method::HEAD);
    wire.send(get("/modified")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("etag")), (304, "\"one\""));
    wire.send(get("/status/204")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("content-length")), (204, ""));
    wire.send(get("/hello")).await;
    assert_eq!(wire.answer().await.text(), "hello");
    stand.is_whole(2).await;
}

#[tokio::test]
async fn an_http10_client_gets_an_answer_that_ends_with_the_connection() {
    let stand = Stand::new("").await;
    let mut wire = stand.connect().await;
    wire.send("GET /big/5000 HTTP/1.0\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.body.len()), (200, 5000));
    assert_eq!(answer.header("transfer-encoding"), "");
    let seen = stand.origin.last();
    assert_eq!(seen.header("host"), stand.origin.address.to_string());
    assert_eq!(seen.header("via"), "1.0 tidegate");
}

#[tokio::test]
async fn a_hundred_is_sent_after_admission_only() {
    let stand = Stand::new("limit = 1\nmax-queue = 1").await;
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let mut wire = stand.connect().await;
    wire.send(head).await;
    assert_eq!(wire.answer().await.status, 100);
    wire.send("body").await;
    assert_eq!(wire.answer().await.text(), "body");
    assert_eq!(stand.origin.last().header("expect"), "");

    let mut first = stand.connect().await;
    first.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    wire.send(head).await;
    eventually("it waits", || stand.waiting() == 1).await;
    // There is no place for this one: it hears so, and never a 100.
    let refused = stand.ask(head).await;
    assert_eq!((refused.status, refused.reason().as_str()), (503, "queue_full"));
    assert!(!wire.has_unread());
    stand.origin.release(1);
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(wire.answer().await.status, 100);
    wire.send("late").await;
    assert_eq!(wire.answer().await.text(), "late");
    assert_eq!(stand.origin.count(), 3);
}

#[tokio::test]
async fn fields_of_one_connection_stay_there() {
    let stand = Stand::new("").await;
    let answer = stand
        .ask(
            "GET /fields HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n\
             Proxy-Connection: keep-alive\r\nProxy: evil\r\nTE: gzip\r\nX-Yours: 1\r\nUpgrade: h2c\r\n\
             X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nVia: 1.0 other\r\n\r\n",
        )
        .await;
    assert_eq!((answer.header("x-public"), answer.header("x-private")), ("1", ""));
    assert_eq!((answer.header("keep-alive"), answer.header("connection")), ("", ""));
    let seen = stand.origin.last();
    for name in
        ["x-mine", "keep-alive", "proxy-connection", "proxy", "te", "upgrade", "connection", "forwarded"]
    {
        assert_eq!(seen.header(name), "", "{name}");
    }
    assert_eq!((seen.header("x-yours"), seen.header("x-forwarded-for")), ("1", "127.0.0.1"));
    assert_eq!(seen.header("via"), "1.0 other, 1.1 tidegate");
}

/// What a trace is told by. Lists may come in several lines, whose order says something (Trace Context §3.3.1, Baggage §3.2).
const TRACE: [(&str, &str); 5] = [
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tracestate", "one=00f067aa0ba902b7,two@system=t61rcWkgMzE"),
    ("tracestate", "three=a b:c~"),
    ("baggage", "shop=a%20b;ttl=5 , region = north"),
    ("baggage", "last=%2C,empty="),
];

/// What the origin saw last has these, each as it was and where it was, and no other.
fn is_traced(stand: &Stand, how: &str) {
    let seen = stand.origin.last();
    for name in ["traceparent", "tracestate", "baggage"] {
        let said: Vec<_> =
            TRACE.iter().filter(|(field, _)| *field == name).map(|(_, value)| value.as_bytes()).collect();
        let heard: Vec<_> = seen.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(heard, said, "{how}: {name}");
    }
}

#[tokio::test]
async fn what_a_trace_is_told_by_passes_as_it_is() {
    let stand = Stand::new("").await;
    let lines: String = TRACE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    for request in [get("/hello"), post("/echo", "sized")] {
        let request = request.replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
        assert_eq!(stand.ask(&request).await.status, 200);
        is_traced(&stand, &request);
    }
    let mut client = Wire2::connect(stand.address).await;
    for request in [get2("/hello"), post2("/echo").body(()).unwrap()] {
        let mut request = request;
        for (name, value) in TRACE {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let how = format!("{request:?}");
        assert_eq!(client.post(request, b"").await.head.status, 200);
        is_traced(&stand, &how);
    }
    assert_eq!(stand.origin.count(), 4);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let stand = Stand::new("trusted-proxy = ['127.0.0.0/8']").await;
    stand
        .ask(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: b\r\nForwarded: for=6.6.6.6\r\n\r\n",
        )
        .await;
    let seen = stand.origin.last();
    assert_eq!(seen.header("x-forwarded-for"), "6.6.6.6, 127.0.0.1");
    assert_eq!((seen.header("x-forwarded-proto"), seen.header("x-forwarded-host")), ("https", "b"));
    assert_eq!(seen.header("forwarded"), "for=6.6.6.6, for=127.0.0.1;proto=http");
}

#[tokio::test]
async fn the_target_names_the_host_once() {
    let stand = Stand::new("").await;
    stand.ask("GET http://b.example:81/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let seen = stand.origin.last();
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/x?y", "b.example:81"));
    stand.ask("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(stand.origin.last().target, "*");
    // As docs/http-semantics.md has it: who parses the target does not tell the first two apart.
    for (asked, target) in [
        ("OPTIONS http://b.example", "/"),
        ("OPTIONS http://b.example/", "/"),
        ("OPTIONS http://b.example?x", "/?x"),
        ("GET http://b.example", "/"),
    ] {
        stand.ask(format!("{asked} HTTP/1.1\r\nHost: b.example\r\n\r\n")).await;
        assert_eq!(stand.origin.last().target, target, "{asked}");
        assert_eq!(stand.origin.last().header("host"), "b.example");
    }
    let before = stand.origin.count();
    for bad in [
        "GET http://user@b.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    ] {
        assert_eq!(stand.ask(bad).await.status, 400, "{bad}");
    }
    let answer = stand.ask("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("connection")), (405, "close"));
    assert_eq!(answer.headers["allow"], "", "no method is for such a target, and that is said");
    let mut client = Wire2::connect(stand.address).await;
    let (answer, _) = client.begin(Request::connect("a.example:443").body(()).unwrap(), false).await;
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.head.status.as_u16(), &answer.head.headers["allow"]), (405, &"".parse().unwrap()));
    assert_eq!(stand.origin.count(), before);
}

#[tokio::test]
async fn a_reader_that_closes_early_leaves_no_trace() {
    let stand = Stand::new("limit = 2").await;
    for _ in 0..20 {
        let mut wire = stand.connect().await;
        wire.send(get("/big/10000000")).await;
        assert!(wire.head().await.is_some());
    }
    stand.is_whole(2).await;
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let stand = Stand::new("limit = 2").await;
    for _ in 0..3 {
        let mut wire: Wire = stand.connect().await;
        wire.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n").await;
        let (read, mut write) = wire.stream.into_split();
        let sending = tokio::spawn(async move {
            let piece = [b'x'; 10_000];
            for _ in 0..300 {
                if write.write_all(&piece).await.is_err() {
                    return;
                }
            }
        });
        let mut wire = Wire::over(tokio::io::join(read, tokio::io::sink()));
        assert_eq!(wire.answer().await.text(), "unread");
        drop(wire);
        bounded("the sender ends", sending).await.unwrap();
    }
    stand.is_whole(2).await;
}
