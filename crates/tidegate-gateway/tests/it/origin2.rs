//! Origins that are spoken to in HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::stand::{Stand, eventually, get, post};
use crate::wire2::{Wire2, post2, whole};

struct Origin2 {
    url: String,
    book: Arc<Book>,
}

struct Book {
    now: AtomicUsize,
    peak: AtomicUsize,
    seen: AtomicUsize,
    released: Semaphore,
}

impl Origin2 {
    /// Allows so many streams at a time.
    async fn start(streams: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let zero = AtomicUsize::default;
        let book = Arc::new(Book { now: zero(), peak: zero(), seen: zero(), released: Semaphore::new(0) });
        let for_requests = Arc::clone(&book);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let book = Arc::clone(&for_requests);
                tokio::spawn(async move {
                    let mut connection =
                        Builder::new().max_concurrent_streams(streams).handshake(tcp).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let book = Arc::clone(&book);
                        tokio::spawn(async move {
                            let now = book.now.fetch_add(1, SeqCst) + 1;
                            book.peak.fetch_max(now, SeqCst);
                            book.seen.fetch_add(1, SeqCst);
                            let _ = answer(request, respond, &book).await;
                            book.now.fetch_sub(1, SeqCst);
                        });
                    }
                });
            }
        });
        Self { url, book }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    book: &Book,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    assert!(!head.headers.contains_key("connection") && !head.headers.contains_key("upgrade"));
    if head.uri.path() == "/hold" {
        let reset = std::future::poll_fn(|cx| respond.poll_reset(cx));
        tokio::select! {
            permit = book.released.acquire() => permit.unwrap().forget(),
            _ = reset => return Ok(()),
        }
    }
    if head.uri.path() == "/hinted" {
        let hint = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
        respond.send_informational(hint)?;
        // Until the hint has arrived.
        book.released.acquire().await.unwrap().forget();
    }
    let answer = Response::builder().header("content-type", "application/grpc");
    let mut answer = answer.header("x-path", head.uri.path()).body(()).unwrap();
    if head.uri.path() == "/announced" {
        answer.headers_mut().insert("trailer", "x-host".parse().unwrap());
    }
    let mut stream = respond.send_response(answer, false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        stream.send_data(data, false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("x-host", head.uri.authority().unwrap().as_str().parse().unwrap());
    stream.send_trailers(trailers)
}

async fn stand(origin: &Origin2, words: &str) -> Stand {
    Stand::facing(&origin.url, &format!("origin-http2 = true\n{words}")).await
}

#[tokio::test]
async fn a_call_passes_with_its_trailers() {
    let origin = Origin2::start(100).await;
    let stand = stand(&origin, "limit = 1").await;
    let mut client = Wire2::connect(stand.address).await;
    for _ in 0..3 {
        let call =
            post2("/pkg.Service/Call").header("content-type", "application/grpc").header("te", "trailers");
        let answer = client.post(call.body(()).unwrap(), b"message").await;
        assert_eq!(
            (answer.body.as_slice(), &answer.trailers["grpc-status"]),
            (&b"message"[..], &"0".parse::<http::HeaderValue>().unwrap())
        );
        assert_eq!(answer.trailers["x-host"], "a.example");
    }
    assert_eq!(stand.metric("tidegate_origin_dials_total"), 1.0);
    // The same of an HTTP/1 client, which cannot be told the trailers, and which asks for an upgrade in vain.
    let wants = |path| post(path, "text").replace("\r\n\r\n", "\r\nTE: trailers\r\n\r\n");
    for request in [post("/plain", "text"), wants("/plain"), post("/announced", "text")] {
        let answer = stand.ask(request).await;
        assert_eq!((answer.status, answer.text().as_str(), answer.whole), (200, "text", true));
        assert!(answer.trailers.is_empty(), "{answer:?}");
    }
    // Unless it wants them and the origin has named them: then those that were named (docs/http-semantics.md).
    let answer = stand.ask(wants("/announced")).await;
    assert_eq!((answer.text().as_str(), answer.trailers.len()), ("text", 1));
    assert_eq!(answer.trailers["x-host"], "a.example");
    let answer =
        stand.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    eventually("all is back", || stand.in_flight() == 0).await;
}

#[tokio::test]
async fn a_stream_both_ways_leaves_the_limiter() {
    let origin = Origin2::start(100).await;
    let stand = stand(&origin, "limit = 1").await;
    let mut client = Wire2::connect(stand.address).await;
    let call = post2("/pkg.Service/Chat").header("content-type", "application/grpc").body(()).unwrap();
    let (answer, mut stream) = client.begin(call, false).await;
    stream.send_data("one".into(), false).unwrap();
    let mut body = crate::stand::bounded("a head", answer).await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "one");
    eventually("it is counted among the streams", || stand.metric("tidegate_streams") == 1.0).await;
    assert_eq!(stand.ask(post("/x", "y")).await.text(), "y");
    stream.send_data("two".into(), true).unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "two");
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    eventually("it is over", || stand.metric("tidegate_streams") == 0.0).await;
}

#[tokio::test]
async fn a_call_whose_client_goes_on_sending_leaves_the_limiter_before_it_is_answered() {
    let origin = Origin2::start(100).await;
    let stand =
        stand(&origin, "limit = 1\nstall-timeout = '1s'\nmax-wait = '1h'\nclient-timeout = '10h'").await;
    let mut client = Wire2::connect(stand.address).await;
    let call = |path: &str| post2(path).header("content-type", "application/grpc").body(()).unwrap();
    let (answer, mut stream) = client.begin(call("/hold"), false).await;
    stream.send_data("one".into(), false).unwrap();
    // Who comes behind it is not kept from the only place for as long as its client likes.
    let mut other = Wire2::connect(stand.address).await;
    let behind = other.post(call("/pkg.Service/Call"), b"behind");
    assert_eq!(crate::stand::bounded("its answer", behind).await.body, b"behind");
    assert_eq!((stand.metric("tidegate_streams"), stand.in_flight()), (1.0, 0));
    // It is not hurried: silent for longer than the stall timeout, it goes on.
    origin.book.released.add_permits(1);
    stream.send_data("two".into(), true).unwrap();
    let answer = whole(answer).await.unwrap();
    assert_eq!(
        (answer.body.as_slice(), &answer.trailers["grpc-status"]),
        (&b"onetwo"[..], &"0".parse().unwrap())
    );
    eventually("it is over", || stand.metric("tidegate_streams") == 0.0).await;
    // One whose message is there, and that is only worked on for long, is work.
    let (answer, _) = client.begin(call("/hold"), true).await;
    eventually("it is there", || origin.book.now.load(SeqCst) == 1).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!((stand.metric("tidegate_streams"), stand.in_flight()), (0.0, 1));
    origin.book.released.add_permits(1);
    assert_eq!(whole(answer).await.unwrap().trailers["grpc-status"], "0");
    eventually("all is back", || stand.in_flight() == 0 && origin.book.now.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn no_more_is_sent_than_the_origin_has_room_for() {
    let origin = Origin2::start(2).await;
    let stand = stand(&origin, "limit = 10").await;
    assert_eq!(stand.get("/first").await.status, 200); // its settings are known now
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = stand.connect().await;
        client.send(get("/hold")).await;
        clients.push(client);
    }
    eventually("two are there", || origin.book.now.load(SeqCst) == 2).await;
    eventually("the others have a permit", || stand.in_flight() == 6).await;
    // Clients that leave, in whatever state, make room or never arrive.
    clients.drain(..4).for_each(drop);
    eventually("the last two have arrived", || {
        origin.book.now.load(SeqCst) == 2 && origin.book.seen.load(SeqCst) == 5 && stand.in_flight() == 2
    })
    .await;
    origin.book.released.add_permits(2);
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
    assert!(origin.book.peak.load(SeqCst) <= 2);
    eventually("all is back", || stand.in_flight() == 0 && origin.book.now.load(SeqCst) == 0).await;
    assert_eq!(stand.get("/again").await.status, 200);
}

#[tokio::test]
async fn an_origin_without_room_is_given_up_after_its_time() {
    let origin = Origin2::start(0).await;
    let stand = stand(&origin, "limit = 2\norigin-timeout = '150ms'").await;
    // One may be sent before the origin's settings are known, and is then refused by it: the first, unless its time is over
    // before the dial is.
    let (mut in_vain, mut refused) = (0, 0);
    while in_vain < 2 || refused == 0 && in_vain < 3 {
        let answer = stand.get("/x").await;
        match (answer.status, answer.reason().as_str()) {
            (504, "origin_timeout") => in_vain += 1,
            (502, "origin_down") => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(refused <= 1, "its settings are known");
    }
    assert_eq!((stand.in_flight(), origin.book.seen.load(SeqCst)), (0, 0));
}

#[tokio::test]
async fn a_broken_upload_is_not_the_origins_fault() {
    let origin = Origin2::start(100).await;
    let stand = stand(&origin, "limit = 1\nstall-timeout = '1s'").await;
    let answer =
        stand.ask("POST /hold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    assert_eq!((answer.status, answer.reason().as_str()), (408, "malformed"));
    eventually("the origin hears it", || origin.book.now.load(SeqCst) == 0).await;
    let mut client = Wire2::connect(stand.address).await;
    let (answer, stream) = client.begin(post2("/hold").body(()).unwrap(), false).await;
    eventually("it is there", || origin.book.now.load(SeqCst) == 1).await;
    drop((answer, stream));
    eventually("the origin hears it", || origin.book.now.load(SeqCst) == 0 && stand.in_flight() == 0).await;
    let answer = client.begin(post2("/x").body(()).unwrap(), true).await.0;
    assert_eq!(whole(answer).await.unwrap().head.status, 200);
}

#[tokio::test]
async fn a_star_is_for_the_server() {
    let origin = Origin2::start(100).await;
    let stand = stand(&origin, "").await;
    let answer = stand.ask("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("x-path")), (200, "*"));
}

#[tokio::test]
async fn interim_answers_pass() {
    let origin = Origin2::start(100).await;
    let stand = stand(&origin, "").await;
    let mut client = Wire2::connect(stand.address).await;
    let (mut answer, _) = client.begin(post2("/hinted").body(()).unwrap(), true).await;
    let hint = std::future::poll_fn(|cx| answer.poll_informational(cx));
    let hint = crate::stand::bounded("a hint", hint).await.unwrap().unwrap();
    assert!(hint.status() == 103 && hint.headers()["link"] == "</a.css>", "{hint:?}");
    origin.book.released.add_permits(1);
    assert_eq!(whole(answer).await.unwrap().trailers["grpc-status"], "0");
}
