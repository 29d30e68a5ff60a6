//! What is refused before it is a request counts as one, has its line in the log, and hears it in its own language.

use std::sync::mpsc::sync_channel;

use h2::Reason;
use http::{HeaderName, HeaderValue, Request};
use serde_json::Value;
use tidegate_gateway::observe::{AccessLog, LogFormat};

use crate::admin::Lines;
use crate::reasons::refused;
use crate::stand::{Stand, eventually, get};
use crate::wire2::{Wire2, get2, post2, whole};

/// More fields than a head may have.
fn many(mut request: Request<()>) -> Request<()> {
    for index in 0..120 {
        let name = HeaderName::try_from(format!("x-{index}")).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_static("y"));
    }
    request
}

#[tokio::test]
async fn it_counts_and_has_its_line() {
    let (lines, written) = sync_channel(100);
    let log = AccessLog::new(LogFormat::Json, Lines(lines));
    let stand = Stand::logged("head-timeout = '1s'", log).await;
    for bad in ["GET /x HTTP/1.2\r\nHost: a\r\n\r\n", "GET /x HTTP/1.2\r\n\r\n"] {
        assert_eq!(stand.ask(bad).await.status, 400);
    }
    let long = format!("GET /long HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(120));
    assert_eq!(stand.ask(long).await.status, 431);
    assert_eq!(stand.ask("GET /late HTTP/1.1\r\nHo").await.status, 408);
    let mut client = Wire2::connect(stand.address).await;
    let mut request = many(get2("/many?secret=1"));
    request.headers_mut().insert("sec-purpose", HeaderValue::from_static("prefetch"));
    let (answer, _) = client.begin(request, true).await;
    assert_eq!(whole(answer).await.unwrap().head.status, 431);
    let spaced = post2("/spaced").header("x", " y").body(()).unwrap();
    let (answer, _) = client.begin(spaced, true).await;
    assert_eq!(whole(answer).await.unwrap().head.status, 400);
    assert_eq!((stand.metric("tidegate_requests_total"), refused(&stand, "malformed")), (6.0, 6.0));
    // Beside one that is heard.
    assert_eq!(stand.get("/hello").await.status, 200);
    assert_eq!((stand.metric("tidegate_requests_total"), refused(&stand, "malformed")), (7.0, 6.0));
    let mut text = String::new();
    eventually("seven lines", || {
        text.extend(written.try_iter().map(|bytes| String::from_utf8(bytes).unwrap()));
        text.lines().count() == 7
    })
    .await;
    let said: Vec<_> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
            let word = |name: &str| line[name].as_str().unwrap_or("").to_owned();
            format!(
                "{} {} {} {} {}",
                word("method"),
                word("path"),
                line["status"],
                word("reason"),
                word("class")
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            "- - 400 malformed -",
            "- - 400 malformed -",
            "- - 431 malformed -",
            "- - 408 malformed -",
            "GET /many 431 malformed sheddable",
            "POST /spaced 400 malformed critical",
            "GET /hello 200  critical",
        ]
    );
}

#[tokio::test]
async fn everybody_hears_it_in_their_own_language() {
    let stand = Stand::new("").await;
    let mut client = Wire2::connect(stand.address).await;
    let call = post2("/pkg.Service/Call").header("content-type", "application/grpc").body(()).unwrap();
    let (answer, _stream) = client.begin(many(call), false).await;
    let answer = whole(answer).await.unwrap();
    // INTERNAL, in a head without a body: trailers only.
    assert_eq!(
        (answer.head.status.as_u16(), answer.header("grpc-status"), answer.body.len()),
        (200, "13", 0)
    );
    assert_eq!(answer.header("grpc-retry-pushback-ms"), "-1");
    let mut page = many(get2("/"));
    page.headers_mut().insert("accept", HeaderValue::from_static("text/html"));
    let (answer, _) = client.begin(page, true).await;
    let answer = whole(answer).await.unwrap();
    assert_eq!(
        (answer.head.status.as_u16(), answer.header("content-type")),
        (431, "text/html; charset=utf-8")
    );
    assert_eq!(refused(&stand, "malformed"), 2.0);
}

/// The HTTP/2 library looks at the size before anybody else can, and says nothing of it: docs/http-semantics.md has why.
#[tokio::test]
async fn a_head_of_too_many_bytes_is_answered_by_the_library() {
    let stand = Stand::new("").await;
    let mut client = Wire2::connect(stand.address).await;
    let mut request = get2("/long");
    request.headers_mut().insert("x", "a".repeat(33_000).parse().unwrap());
    let (answer, _) = client.begin(request, true).await;
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.head.status.as_u16(), answer.body.len()), (431, 0));
    assert_eq!((stand.metric("tidegate_requests_total"), refused(&stand, "malformed")), (0.0, 0.0));
    assert_eq!(client.get("/hello").await.body, b"hello");
    // Where one frame unpacks to four times as much, the connection ends.
    let mut request = get2("/longer");
    for _ in 0..60 {
        request.headers_mut().append("a", "a".repeat(4_000).parse().unwrap());
    }
    let (answer, _) = client.begin(request, true).await;
    assert_eq!(whole(answer).await.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
}

/// Requests that all come at once, with room for some.
const LEAST: &str = "memory = '32MiB'\nlimit = 2000\nmax-wait = '300ms'\nclient-timeout = '60s'";

#[tokio::test]
async fn who_finds_no_memory_hears_it_in_their_own_language() {
    const IDLE: usize = 300;
    let stand = Stand::new(LEAST).await;
    let mut crowd = Vec::new();
    for _ in 0..IDLE {
        let mut wire = stand.connect().await;
        wire.send(get("/hello")).await;
        assert_eq!(wire.answer().await.status, 200);
        crowd.push(wire);
    }
    for wire in &mut crowd {
        wire.send("GET /hold HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n").await;
    }
    eventually("none waits any more", || {
        let told = refused(&stand, "memory") as usize;
        told > 0 && told + stand.origin.now() == IDLE
    })
    .await;
    let answer = crowd.last_mut().unwrap().answer().await;
    assert_eq!((answer.status, answer.header("content-type")), (503, "text/html; charset=utf-8"));
    assert_eq!(stand.metric("tidegate_requests_total") as usize, 2 * IDLE);
}

#[tokio::test]
async fn so_does_a_stream() {
    let stand = Stand::new(LEAST).await;
    let (mut clients, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let mut client = Wire2::connect(stand.address).await;
        assert_eq!(client.get("/hello").await.body, b"hello"); // it knows the bound of streams now
        for _ in 0..60 {
            let call = post2("/hold").header("content-type", "application/grpc").body(()).unwrap();
            answers.push(client.begin(call, true).await.0);
        }
        clients.push(client);
    }
    eventually("some are refused", || refused(&stand, "memory") > 0.0).await;
    stand.origin.release(600);
    let (mut held, mut told, mut reset) = (0, 0, 0);
    for answer in answers {
        match whole(answer).await {
            Ok(answer) if answer.header("grpc-status") == "14" => {
                assert_eq!((answer.head.status.as_u16(), answer.body.len()), (200, 0));
                told += 1;
            }
            Ok(answer) => {
                assert_eq!(answer.body, b"held");
                held += 1;
            }
            Err(error) => {
                assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
                reset += 1;
            }
        }
    }
    assert!(told > 0, "{held} held, {reset} reset");
    assert_eq!(refused(&stand, "memory"), f64::from(told));
    // What was reset was nothing: neither refused nor a request.
    assert_eq!(stand.metric("tidegate_requests_total"), f64::from(10 + held + told));
}
