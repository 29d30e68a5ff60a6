//! What `Limit` does in an application: admit, hold, refuse with the same answers as in tower.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceRequest};
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, Error, HttpResponse, error, web};
use bytes::Bytes;
use tidegate::actix::{Limit, until_deadline};
use tidegate::http::RespondWith;
use tidegate::tower::{LimitLayer, UntilResponse};
use tidegate::{Criticality, LimitAlgorithm, Limiter, Outcome, QueueConfig, Refused, Sample};
use tokio::sync::Notify;
use tower::{Layer, ServiceExt};

fn limiter(limit: u64, places: u64) -> Limiter {
    let queue = if places == 0 { QueueConfig::none() } else { QueueConfig::bounded(places) };
    Limiter::builder().name("app").limit(limit).queue(queue).build().unwrap()
}

fn get() -> TestRequest {
    TestRequest::get().uri("/")
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
}

/// Remembers what it heard.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(Outcome, bool)>>>);

impl LimitAlgorithm for Heard {
    fn limit(&self) -> u64 {
        8
    }

    fn on_sample(&mut self, sample: &Sample) -> u64 {
        self.0.lock().unwrap().push((sample.outcome, sample.in_time));
        8
    }
}

/// A body in pieces that says, or does not say, how long it is.
struct Pieces(Vec<&'static str>, BodySize);

impl MessageBody for Pieces {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        self.1
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, std::io::Error>>> {
        Poll::Ready(match self.0.pop() {
            Some("broken") => Some(Err(std::io::Error::other("broken"))),
            piece => piece.map(|piece| Ok(Bytes::from(piece))),
        })
    }
}

#[tokio::test]
async fn a_refusal_says_the_same_as_in_tower() {
    let limiter = limiter(1, 0);
    let app = init_service(
        App::new().wrap(Limit::new(limiter.clone())).route("/", web::get().to(|| async { "hello" })),
    )
    .await;
    let served = call_service(&app, get().to_request()).await;
    assert_eq!(to_bytes(served.into_body()).await.unwrap(), "hello");

    let _held = limiter.try_acquire(1).unwrap();
    let ours = call_service(&app, get().to_request()).await;
    let theirs = LimitLayer::new(limiter)
        .on_refusal(RespondWith::service_unavailable().problem_json())
        .layer(tower::service_fn(async |_: ()| Ok::<_, Error>(http::Response::new(Bytes::new()))))
        .oneshot(())
        .await
        .unwrap();
    assert_eq!(ours.status().as_u16(), theirs.status().as_u16());
    let mut names: Vec<_> = ours.headers().keys().map(|name| name.as_str().to_owned()).collect();
    let mut expected: Vec<_> = theirs.headers().keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    for name in ["cache-control", "content-type"] {
        assert_eq!(ours.headers().get(name).unwrap().as_bytes(), theirs.headers()[name].as_bytes());
    }
    // Each has a moment of its own, and nothing else differs.
    let body = to_bytes(ours.into_body()).await.unwrap();
    let mut ours: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let mut theirs: serde_json::Value = serde_json::from_slice(theirs.body()).unwrap();
    let moments = [&mut ours, &mut theirs].map(|body| body.as_object_mut().unwrap().remove("retry_after_ms"));
    assert!(moments[0].is_some() && moments[0] != moments[1]);
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn every_kind_of_refusal_passes_the_border() {
    let limiter = limiter(1, 0);
    let _held = limiter.try_acquire(1).unwrap();
    let own = |refused: Refused| -> Result<HttpResponse, Error> {
        Err(error::ErrorImATeapot(refused.limiter().to_owned()))
    };
    let hello = || web::get().to(|| async { "hello" });
    let app = init_service(
        App::new()
            .service(
                web::resource("/")
                    .wrap(Limit::new(limiter.clone()).on_refusal(RespondWith::too_many_requests()))
                    .route(hello()),
            )
            .service(
                web::resource("/grpc")
                    .wrap(Limit::new(limiter.clone()).on_refusal(RespondWith::grpc()))
                    .route(hello()),
            )
            .service(web::resource("/own").wrap(Limit::new(limiter.clone()).on_refusal(own)).route(hello())),
    )
    .await;
    let plain = call_service(&app, get().to_request()).await;
    assert_eq!(plain.status(), 429);
    let seconds: u64 = plain.headers().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds));
    assert!(to_bytes(plain.into_body()).await.unwrap().is_empty());
    let grpc = call_service(&app, get().uri("/grpc").to_request()).await;
    assert_eq!(
        (grpc.status().as_u16(), grpc.headers().get("grpc-status").unwrap().as_bytes()),
        (200, &b"14"[..])
    );
    let own = app.call(get().uri("/own").to_request()).await;
    assert_eq!(own.unwrap_err().as_response_error().status_code(), 418);
}

#[tokio::test]
async fn the_permit_is_held_until_the_body_ends_or_until_the_response() {
    let limiter = limiter(2, 0);
    let pieces = |size: BodySize| {
        web::get().to(move || async move { HttpResponse::Ok().message_body(Pieces(vec!["b", "a"], size)) })
    };
    let app = init_service(
        App::new()
            .service(
                web::scope("/held")
                    .wrap(Limit::new(limiter.clone()))
                    .route("/sized", pieces(BodySize::Sized(2)))
                    .route("/stream", pieces(BodySize::Stream))
                    .route("/empty", web::get().to(HttpResponse::NoContent)),
            )
            .service(
                web::scope("/left")
                    .wrap(Limit::new(limiter.clone()).hold(UntilResponse))
                    .route("/stream", pieces(BodySize::Stream)),
            ),
    )
    .await;
    let held = || limiter.stats().in_flight;
    for (path, after) in [("/held/sized", [1, 0, 0]), ("/held/stream", [1, 1, 0])] {
        let response = call_service(&app, get().uri(path).to_request()).await;
        assert_eq!(held(), 1, "{path}: its body was not read yet");
        let mut body = Box::pin(response.into_body());
        for (piece, after) in [Some("a"), Some("b"), None].into_iter().zip(after) {
            let next = poll_fn(|cx| body.as_mut().poll_next(cx)).await;
            assert_eq!(next.map(|next| next.unwrap()).as_deref(), piece.map(str::as_bytes));
            assert_eq!(held(), after, "{path} after {piece:?}");
        }
    }
    let empty = call_service(&app, get().uri("/held/empty").to_request()).await;
    assert_eq!(held(), 0, "there is nothing to wait for");
    let unread = call_service(&app, get().uri("/held/stream").to_request()).await;
    assert_eq!(held(), 1);
    drop((empty, unread));
    assert_eq!(held(), 0, "its client left");
    let left = call_service(&app, get().uri("/left/stream").to_request()).await;
    assert_eq!(held(), 0);
    assert_eq!(to_bytes(left.into_body()).await.unwrap(), "ab");
}

#[tokio::test(start_paused = true)]
async fn the_limit_hears_how_work_ended() {
    let heard = Heard::default();
    let limiter = Limiter::adaptive(heard.clone());
    let broken = || async { HttpResponse::Ok().message_body(Pieces(vec!["broken", "a"], BodySize::Stream)) };
    let slow = || async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        "late"
    };
    let app = init_service(
        App::new()
            .wrap(Limit::new(limiter.clone()))
            .route("/", web::get().to(|| async { "hello" }))
            .route("/full", web::get().to(HttpResponse::ServiceUnavailable))
            .route("/bad", web::get().to(HttpResponse::InternalServerError))
            .route("/slow", web::get().to(slow))
            .service(
                web::resource("/error")
                    .wrap(actix_web::middleware::from_fn(
                        async |_: ServiceRequest, _: actix_web::middleware::Next<BoxBody>| {
                            Err::<actix_web::dev::ServiceResponse<BoxBody>, _>(error::ErrorGatewayTimeout(
                                "late",
                            ))
                        },
                    ))
                    .route(web::get().to(|| async { "" })),
            )
            .route("/broken", web::get().to(broken)),
    )
    .await;
    for path in ["/", "/full", "/bad", "/error", "/broken"] {
        if let Ok(response) = app.call(get().uri(path).to_request()).await {
            drop(to_bytes(response.into_body()).await);
        }
    }
    drop(call_service(&app, get().to_request()).await);
    let hurried = get().uri("/slow").insert_header(("x-request-timeout", "1s"));
    drop(to_bytes(call_service(&app, hurried.to_request()).await.into_body()).await);
    let outcomes = [
        (Outcome::Success, true),
        (Outcome::Overload, true),
        (Outcome::Ignore, true),
        (Outcome::Overload, true),
        (Outcome::Ignore, true),
        (Outcome::Canceled, true),
        (Outcome::Success, false),
    ];
    assert_eq!(*heard.0.lock().unwrap(), outcomes);
    assert_eq!(limiter.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_the_deadline_in_the_headers() {
    let limiter = limiter(1, 4);
    let app = init_service(
        App::new().wrap(Limit::new(limiter.clone())).route("/", web::get().to(|| async { "hello" })),
    )
    .await;
    let _held = limiter.try_acquire(1).unwrap();
    for field in
        [("x-request-timeout", "250ms"), ("grpc-timeout", "250m"), ("prefer", "respond-async, wait=1")]
    {
        let begun = tokio::time::Instant::now();
        let response = call_service(&app, get().insert_header(field).to_request()).await;
        assert_eq!(response.status(), 503);
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_millis(200) && waited <= Duration::from_millis(1010), "{waited:?}");
        assert_eq!(limiter.stats().waiting, 0);
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_leaves_wherever_it_stands() {
    let limiter = limiter(1, 4);
    let end = Arc::new(Notify::new());
    let inside = web::Data::from(Arc::clone(&end));
    let app = init_service(App::new().wrap(Limit::new(limiter.clone())).app_data(inside).route(
        "/",
        web::get().to(|end: web::Data<Notify>| async move {
            end.notified().await;
            "done"
        }),
    ))
    .await;
    let stats = || (limiter.stats().in_flight, limiter.stats().waiting);
    let never_polled = app.call(get().to_request());
    assert_eq!(stats(), (1, 0), "admitted in call");
    drop(never_polled);
    assert_eq!(stats(), (0, 0));

    let mut running = Box::pin(app.call(get().to_request()));
    assert!(poll(&mut running).is_pending());
    let mut waiting = Box::pin(app.call(get().to_request()));
    let mut next = Box::pin(app.call(get().to_request()));
    assert!(poll(&mut waiting).is_pending() && poll(&mut next).is_pending());
    assert_eq!(stats(), (1, 2));
    drop(waiting);
    assert_eq!(stats(), (1, 1));
    drop(running);
    assert_eq!(stats(), (1, 0), "handed over to the next");
    assert!(poll(&mut next).is_pending());
    end.notify_one();
    assert!(matches!(poll(&mut next), Poll::Ready(Ok(_))));
    drop(next);
    assert_eq!(stats(), (0, 0), "polled to its end and dropped with its answer");
}

#[tokio::test]
async fn what_is_asked_for_can_be_read_from_the_request() {
    let limiter = Limiter::builder().limit(4).queue(QueueConfig::none()).build().unwrap();
    let demand = |request: &ServiceRequest| {
        let asked = until_deadline(request).class(Criticality::Sheddable);
        if request.path() == "/export" { tidegate::Demand::weight(3) } else { asked }
    };
    let app = init_service(
        App::new()
            .wrap(Limit::new(limiter.clone()).demand(demand))
            .default_service(web::to(|| async { "hello" })),
    )
    .await;
    let _export = call_service(&app, get().uri("/export").to_request()).await;
    assert_eq!(limiter.stats().in_flight, 3);
    let _one = call_service(&app, get().to_request()).await;
    assert_eq!(limiter.stats().in_flight, 4);
    assert_eq!(call_service(&app, get().to_request()).await.status(), 503);
}

#[tokio::test]
async fn an_answer_to_head_ends_with_its_head() {
    let heard = Heard::default();
    let limiter = Limiter::builder().algorithm(heard.clone()).build().unwrap();
    let work = || async { "a body that nobody takes" };
    let route = web::resource("/").route(web::head().to(work));
    let app = init_service(App::new().wrap(Limit::new(limiter.clone())).service(route)).await;
    let answer = call_service(&app, TestRequest::default().method(Method::HEAD).uri("/").to_request()).await;
    assert_eq!(limiter.stats().in_flight, 0);
    drop(answer);
    assert_eq!(*heard.0.lock().unwrap(), [(Outcome::Success, true)]);
}
