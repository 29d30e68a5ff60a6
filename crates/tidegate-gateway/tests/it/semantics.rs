//! What RFC 9110 asks of whoever stands in between.

use http::{Method, Request};

use crate::script::Script;
use crate::stand::{Stand, bounded, get};
use crate::wire2::{Wire2, get2, whole};

/// Answers one request in these words.
async fn says(script: &Script, words: &str) {
    let mut there = script.accept().await;
    there.request_head().await;
    there.send(words).await;
    // The gate closes it when it has what it asked for, or keeps it.
    tokio::spawn(async move { there.rest().await });
}

#[tokio::test]
async fn max_forwards_ends_here_or_one_step_later() {
    let stand = Stand::new("").await;
    let mut wire = stand.connect().await;
    for method in ["OPTIONS", "TRACE"] {
        let ask = |left: &str| {
            format!("{method} /x HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nMax-Forwards: {left}\r\n\r\n")
        };
        wire.send(ask("2")).await;
        assert_eq!(wire.answer().await.text(), "hello");
        assert_eq!(stand.origin.last().header("max-forwards"), "1");
        let before = stand.origin.count();
        wire.send(ask("0")).await;
        let answer = wire.answer().await;
        assert_eq!((answer.header("content-length"), answer.text().as_str()), ("0", ""));
        let allowed = if method == "TRACE" { (405, "OPTIONS") } else { (200, "") };
        assert_eq!((answer.status, answer.header("allow")), allowed);
        assert_eq!(stand.ask(ask("-1")).await.reason(), "malformed");
        assert_eq!(stand.origin.count(), before, "the origin hears nothing of these");
    }
    wire.send(get("/hello").replace("\r\n\r\n", "\r\nMax-Forwards: 0\r\n\r\n")).await;
    assert_eq!(wire.answer().await.text(), "hello");
    assert_eq!(stand.origin.last().header("max-forwards"), "0");
    assert_eq!((stand.in_flight(), stand.waiting()), (0, 0));

    let mut client = Wire2::connect(stand.address).await;
    let before = stand.origin.count();
    let request = Request::options("http://a.example/x").header("max-forwards", "0").body(()).unwrap();
    let (answer, _) = client.begin(request, true).await;
    assert_eq!(whole(answer).await.unwrap().head.status, 200);
    assert_eq!(stand.origin.count(), before);
}

#[tokio::test]
async fn every_answer_says_when_it_was_made() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1").await;
    let mut client = Wire2::connect(stand.address).await;
    let origins = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (answer, ()) = tokio::join!(client.get("/"), says(&script, origins));
    let date = answer.header("date");
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date:?}");
    // Ours.
    let mut bad = get2("/x");
    bad.headers_mut().insert("host", "other.example".parse().unwrap());
    let (answer, _) = client.begin(bad, true).await;
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.head.status.as_u16(), answer.header("date").len()), (400, 29));
    // The origin's own stays as it is, on either protocol.
    let then = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origins =
        format!("HTTP/1.1 200 OK\r\nDate: {then}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let stand = Stand::facing(&script, "").await;
    let (answer, ()) = tokio::join!(stand.get("/"), says(&script, &origins));
    assert_eq!(answer.header("date"), then);
    let stand = Stand::facing(&script, "").await;
    let mut client = Wire2::connect(stand.address).await;
    let (answer, ()) = tokio::join!(client.get("/"), says(&script, &origins));
    assert_eq!(answer.header("date"), then);
}

#[tokio::test]
async fn what_has_no_body_says_no_length() {
    let script = Script::start().await;
    let none = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nETag: \"one\"\r\n\r\n";
    let modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"one\"\r\n\r\n";
    for (words, status, of_another) in [(none, 204, ""), (modified, 304, "5")] {
        let stand = Stand::facing(&script, "").await;
        let mut client = Wire2::connect(stand.address).await;
        let (answer, ()) = tokio::join!(client.get("/"), says(&script, words));
        assert_eq!((answer.head.status.as_u16(), answer.header("content-length")), (status, of_another));
        assert_eq!(answer.header("etag"), "\"one\"");
        let stand = Stand::facing(&script, "").await;
        let (answer, ()) = tokio::join!(stand.get("/"), says(&script, words));
        assert_eq!((answer.status, answer.header("content-length")), (status, ""));
    }
}

#[tokio::test]
async fn a_star_stays_one_between_any_two_protocols() {
    let stand = Stand::new("").await;
    let mut client = Wire2::connect(stand.address).await;
    let mut star = Request::new(());
    *star.method_mut() = Method::OPTIONS;
    *star.uri_mut() =
        http::Uri::builder().scheme("http").authority("a.example").path_and_query("*").build().unwrap();
    let (answer, _) = client.begin(star, true).await;
    assert_eq!(whole(answer).await.unwrap().head.status, 200);
    assert_eq!(stand.origin.last().target, "*");
}

/// What an origin says before its answer: hints, and what is not for the client.
const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n\
                       HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n";

/// The interim answers to a request.
async fn hints(answer: &mut h2::client::ResponseFuture, count: usize) -> Vec<http::Response<()>> {
    let mut hints = Vec::new();
    bounded("hints", async {
        while hints.len() < count {
            hints.push(std::future::poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap());
        }
    })
    .await;
    hints
}

#[tokio::test]
async fn interim_answers_reach_http2_clients_before_the_answer() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "memory = '64MiB'").await;
    let mut client = Wire2::connect(stand.address).await;
    let (mut answer, _) = client.begin(get2("/"), true).await;
    let mut there = script.accept().await;
    there.request_head().await;
    there.send(INTERIM).await;
    // The answer is not there yet.
    let hints = hints(&mut answer, 2).await;
    for (hint, link) in hints.iter().zip(["</a.css>", "</b.css>"]) {
        assert!(hint.status() == 103 && hint.headers()["link"] == link, "{hint:?}");
        assert!(hint.headers().contains_key("via") && !hint.headers().contains_key("x-hop"));
    }
    there.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.head.status.as_u16(), answer.body.as_slice()), (200, &b"ok"[..]));
    // On a kept connection a flood of them ends after a few; the answer still comes.
    let (mut answer, _) = client.begin(get2("/"), true).await;
    there.request_head().await;
    there.send(INTERIM.repeat(50)).await;
    assert_eq!(self::hints(&mut answer, 8).await.len(), 8);
    there.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert!(std::future::poll_fn(|cx| answer.poll_informational(cx)).await.is_none());
    assert_eq!(whole(answer).await.unwrap().body, b"ok");
}

#[tokio::test]
async fn interim_answers_do_not_reach_http1_clients() {
    let script = Script::start().await;
    let words = format!("{INTERIM}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let stand = Stand::facing(&script, "").await;
    let (answer, ()) = tokio::join!(stand.get("/"), says(&script, &words));
    assert_eq!((answer.status, answer.text().as_str(), answer.header("link")), (200, "ok", ""));
}
