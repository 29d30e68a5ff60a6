//! The layers for clients around hyper-util's client, over real sockets. Times are lower bounds: a busy machine only adds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tidegate::http::{
    ByAuthority, ByStatus, Deadline, HearBodyLayer, HearHttp, RepeatHttp, RespondWith, UntilBodyEnd,
};
use tidegate::tower::{BoxError, LimitLayer, Pushback, PushbackLayer, RestrainLayer, RetryLayer};
use tidegate::{Limiter, QueueConfig, Refused};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

type Answer = Response<tidegate::http::HeardBody<hyper::body::Incoming>>;

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn refused_stream(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<h2::Error>().is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// The whole stack: restraint, retry, pushback, the body's word, the client.
fn client(
    patience: Duration,
) -> impl Service<Request<Full<Bytes>>, Response = Answer, Error = BoxError, Future: Send> + Clone + Send {
    let hear = HearHttp::new().unprocessed_if(refused_stream);
    let inner = HearBodyLayer.layer(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
    let inner = PushbackLayer::new(hear).by(ByAuthority).layer(inner);
    let inner = RetryLayer::new(patience, RepeatHttp).hear(hear).layer(inner);
    RestrainLayer::new().hear(hear).layer(inner)
}

fn request(method: &str, address: SocketAddr) -> Request<Full<Bytes>> {
    let uri = format!("http://{address}/");
    Request::builder().method(method).uri(uri).body(Full::from("asked")).unwrap()
}

/// One place, none to wait in; knows its pace, so that it names moments of its own.
async fn busy_app() -> (Limiter, SocketAddr) {
    let limiter = Limiter::builder().name("app").limit(1).queue(QueueConfig::none()).build().unwrap();
    let app = Router::new().route("/", any(|body: String| async move { body })).layer(
        LimitLayer::new(limiter.clone())
            .outcome(ByStatus)
            .on_refusal(RespondWith::service_unavailable().problem_json())
            .hold(UntilBodyEnd),
    );
    (limiter.clone(), serve(app).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_post_comes_back_at_its_moment_and_is_served() {
    let (limiter, address) = busy_app().await;
    let held = limiter.try_acquire(1).unwrap();
    let begun = Instant::now();
    let call = tokio::spawn(client(Duration::from_secs(60)).oneshot(request("POST", address)));
    while limiter.stats().refused_total() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(held);
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "asked");
    assert!(begun.elapsed() >= Duration::from_secs(1), "while the pace is unknown, moments begin at 1 s");
    assert_eq!(limiter.stats().refused_total(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impatient_caller_gets_the_answer_with_its_body_and_the_next_one_hears_it_here() {
    let (limiter, address) = busy_app().await;
    let held = limiter.try_acquire(1).unwrap();
    let client = client(Duration::from_millis(900));
    let response = client.clone().oneshot(request("GET", address)).await.unwrap();
    assert_eq!(response.status(), 503);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(problem["retry_after_ms"].as_u64().unwrap() >= 1000);
    drop(held);
    // In force until that moment: refused here, and still too late for this caller.
    let error = client.oneshot(request("GET", address)).await.unwrap_err();
    let left = Refused::find(&*error).unwrap().retry_after().unwrap();
    assert!(left.as_millis() as u64 <= problem["retry_after_ms"].as_u64().unwrap());
    assert_eq!(
        (limiter.stats().refused_total(), limiter.stats().admitted),
        (1, 1),
        "the server heard of one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bodys_words_are_heeded_and_lose_no_byte() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let large = format!(r#"{{"detail":"{}","worth_retrying":false}}"#, "x".repeat(40_000));
    let answer = large.clone();
    let app = Router::new()
        .route(
            "/futile",
            get(move || {
                count.fetch_add(1, SeqCst);
                let kind = [("content-type", "application/problem+json")];
                async move { (StatusCode::SERVICE_UNAVAILABLE, kind, r#"{"worth_retrying":false}"#) }
            }),
        )
        .route(
            "/large",
            get(move || async move {
                let mut frames = vec![Bytes::new()];
                frames.extend(answer.as_bytes().rchunks(1000).map(Bytes::copy_from_slice));
                let response =
                    Response::builder().status(503).header("content-type", "application/problem+json");
                response.body(Body::new(StreamOf(frames))).unwrap()
            }),
        );
    let address = serve(app).await;
    let ask = |path: &str| {
        let uri = format!("http://{address}{path}");
        client(Duration::from_secs(30)).oneshot(Request::get(uri).body(Full::default()).unwrap())
    };
    assert_eq!(ask("/futile").await.unwrap().status(), 503);
    assert_eq!(asked.load(SeqCst), 1);
    let response = ask("/large").await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), large.as_bytes());
}

/// A body without an announced length, in the frames that it is made of; without an end if there is none.
struct StreamOf(Vec<Bytes>);

impl http_body::Body for StreamOf {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop() {
            Some(bytes) if bytes.is_empty() => Poll::Ready(None),
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

/// RFC 9113 §8.7: nothing was done of it, so a POST may be sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_refused_by_http2_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut streams = 0;
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                assert_eq!(request.method(), "POST");
                streams += 1;
                if streams < 3 {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    respond.send_response(Response::builder().status(204).body(()).unwrap(), true).unwrap();
                }
            }
        }
    });
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let mut post = request("POST", address);
    *post.version_mut() = Version::HTTP_2;
    // Without the word for it an error is a failure, and a POST is not repeated.
    let careful = RetryLayer::new(Duration::from_secs(60), RepeatHttp).hear(HearHttp::new());
    assert!(careful.layer(client.clone()).oneshot(post.clone()).await.is_err());
    let hear = HearHttp::new().unprocessed_if(refused_stream);
    let response =
        RetryLayer::new(Duration::from_secs(60), RepeatHttp).hear(hear).layer(client).oneshot(post);
    assert_eq!(response.await.unwrap().status(), 204);
    server.abort();
}

/// Each attempt knows when the caller gives up, also where the request itself said less.
#[tokio::test(start_paused = true)]
async fn the_requests_own_deadline_is_kept_and_passed_on() {
    let server = tower::service_fn(|request: Request<()>| {
        let mut onward = HeaderMap::new();
        request.extensions().get::<Deadline>().unwrap().pass_on(&mut onward);
        let time = onward["x-request-timeout"].clone();
        let response = Response::builder().status(503).header("retry-after", "2").header("x-left", time);
        std::future::ready(Ok::<_, BoxError>(response.body(()).unwrap()))
    });
    let service = RetryLayer::new(Duration::from_secs(15), RepeatHttp).hear(HearHttp::new()).layer(server);
    let begun = Instant::now();
    let request = Request::get("/").header("x-request-timeout", "5s").body(()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(
        (response.headers()["x-left"].to_str().unwrap(), begun.elapsed()),
        ("1000ms", Duration::from_secs(4))
    );
    let begun = Instant::now();
    let request = Request::get("/").body(()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(
        (response.headers()["x-left"].to_str().unwrap(), begun.elapsed()),
        ("11000ms", Duration::from_secs(4))
    );
}

/// A moment is its caller's: what the server asked back passes, although a later word for others is in force.
#[tokio::test(start_paused = true)]
async fn who_was_given_a_moment_comes_back_at_it_whatever_others_heard_since() {
    let arrivals = Arc::new(std::sync::Mutex::new(Vec::new()));
    let begun = Instant::now();
    let server = {
        let arrivals = Arc::clone(&arrivals);
        tower::service_fn(move |_: Request<()>| {
            let mut arrivals = arrivals.lock().unwrap();
            let status = if arrivals.len() < 3 { 503 } else { 200 };
            arrivals.push(begun.elapsed().as_secs());
            let response = Response::builder().status(status).header("retry-after", arrivals.len() * 2);
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok::<_, BoxError>(response.body(()).unwrap())
            }
        })
    };
    let held = PushbackLayer::new(HearHttp::new()).by(ByAuthority).layer(server);
    let service = RetryLayer::new(Duration::from_secs(15), RepeatHttp).hear(HearHttp::new()).layer(held);
    let get = || Request::get("http://origin/").body(()).unwrap();
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(get()))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(*arrivals.lock().unwrap(), [0, 0, 0, 2, 4, 6]);
}

/// What was read ahead is all there, with its length, and its end is not asked for twice (this one never answers that).
#[tokio::test(start_paused = true)]
async fn a_body_that_was_read_ends_once() {
    let problem = Bytes::from_static(br#"{"retry_after_ms":250,"worth_retrying":true}"#);
    let server = tower::service_fn(|status: u16| {
        let frames = vec![Bytes::new(), problem.slice(10..), problem.slice(..10)];
        let response = Response::builder().status(status).header("content-type", "application/problem+json");
        std::future::ready(Ok::<_, BoxError>(response.body(StreamOf(frames)).unwrap()))
    });
    let service = HearBodyLayer.layer(server);
    for (status, heard) in [(503, true), (429, true), (400, false)] {
        let response = service.oneshot(status).await.unwrap();
        let moment = response.extensions().get().and_then(Pushback::moment);
        assert_eq!(moment, heard.then_some(Duration::from_millis(250)), "{status}");
        let hint = http_body::Body::size_hint(response.body());
        assert_eq!(hint.exact(), heard.then_some(problem.len() as u64));
        let whole = tokio::time::timeout(Duration::from_secs(1), response.into_body().collect()).await;
        assert_eq!(whole.expect("it ends").unwrap().to_bytes(), problem);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_waited_for_a_second_only() {
    let server = tower::service_fn(|_: ()| async {
        let response = Response::builder().status(503).header("retry-after", "7");
        Ok::<_, BoxError>(
            response.header("content-type", "application/problem+json").body(StreamOf(Vec::new())).unwrap(),
        )
    });
    let begun = Instant::now();
    let response = HearBodyLayer.layer(server).oneshot(()).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_millis(1001));
    let heard = response.extensions().get::<Pushback>().unwrap();
    assert_eq!(heard.moment(), Some(Duration::from_secs(7)));
}
