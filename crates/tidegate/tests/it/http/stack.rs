//! Layers together, in axum's router and behind hyper's server.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use tidegate::http::{
    ByStatus, Deadline, HeaderDeadline, RespondWith, UntilBodyEnd, ready_endpoint, until_deadline,
};
use tidegate::tower::{DeadlineLayer, LimitLayer};
use tidegate::{Limiter, QueueConfig};
use tower::{Layer, ServiceExt};

use super::frames::stream;

fn none_waits(limit: u64) -> Limiter {
    Limiter::builder().name("app").limit(limit).queue(QueueConfig::none()).build().unwrap()
}

fn get_root() -> Request {
    Request::new(Body::empty())
}

/// The status, and one field of the head.
fn head<'r, B>(response: &'r Response<B>, field: &str) -> (u16, &'r str) {
    (response.status().as_u16(), response.headers()[field].to_str().unwrap())
}

async fn text<B: http_body::Body<Error: std::fmt::Debug>>(response: Response<B>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn axums_router_takes_every_kind_of_refusal_without_an_error_layer() {
    let limiter = none_waits(1);
    let base = || Router::<()>::new().route("/", get(|| async { "hello" }));
    let plain = base().layer(
        LimitLayer::new(limiter.clone()).outcome(ByStatus).on_refusal(RespondWith::service_unavailable()),
    );
    let own = base()
        .layer(LimitLayer::new(limiter.clone()).on_refusal(RespondWith::too_many_requests().problem_json()));
    let grpc =
        base().layer(LimitLayer::new(limiter.clone()).on_refusal(RespondWith::grpc()).hold(UntilBodyEnd));
    for app in [&plain, &own, &grpc] {
        assert_eq!(text(app.clone().oneshot(get_root()).await.unwrap()).await, "hello");
    }
    let _held = limiter.try_acquire(1).unwrap();
    let refused = plain.oneshot(get_root()).await.unwrap();
    assert_eq!(head(&refused, "cache-control"), (503, "no-store"));
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds));
    let refused = own.oneshot(get_root()).await.unwrap();
    assert_eq!(head(&refused, "content-type"), (429, "application/problem+json"));
    let problem: serde_json::Value = serde_json::from_str(&text(refused).await).unwrap();
    assert_eq!((&problem["status"], &problem["reason"]), (&429.into(), &"queue_full".into()));
    let refused = grpc.oneshot(get_root()).await.unwrap();
    assert_eq!(head(&refused, "grpc-status"), (200, "14"));
}

#[tokio::test(start_paused = true)]
async fn a_clients_deadline_is_read_obeyed_and_passed_on() {
    let limiter = Limiter::fixed(1);
    let seen = |Extension(deadline): Extension<Deadline>| async move {
        let mut onward = HeaderMap::new();
        deadline.pass_on(&mut onward);
        tokio::time::sleep(Duration::from_secs(1)).await;
        onward["x-request-timeout"].to_str().unwrap().to_owned()
    };
    let app = Router::<()>::new()
        .route("/", get(seen))
        .layer(
            LimitLayer::new(limiter.clone())
                .demand(until_deadline::<Body>)
                .on_refusal(RespondWith::service_unavailable()),
        )
        .layer(
            DeadlineLayer::new(Duration::from_secs(30))
                .time_left(HeaderDeadline)
                .on_refusal(RespondWith::service_unavailable().problem_json()),
        );
    let ask = |time: &str| {
        let request = Request::builder().header("x-request-timeout", time).body(Body::empty()).unwrap();
        app.clone().oneshot(request)
    };
    assert_eq!(text(ask("5s").await.unwrap()).await, "5000ms");
    assert_eq!(text(app.clone().oneshot(get_root()).await.unwrap()).await, "30000ms");
    let expired = ask("500ms").await.unwrap();
    assert_eq!(expired.status(), 503);
    assert!(text(expired).await.contains("\"expired\""));
    assert!(text(ask("0").await.unwrap()).await.contains("\"deadline\""));
    assert_eq!(
        (limiter.stats().in_flight, limiter.stats().admitted),
        (0, 3),
        "the last one asked for nothing"
    );
    // In the queue the time runs as well.
    let held = limiter.try_acquire(1).unwrap();
    assert_eq!(ask("700ms").await.unwrap().status(), 503);
    assert_eq!(limiter.stats().waiting, 0);
    drop(held);
}

#[tokio::test]
async fn the_endpoint_answers_while_everything_is_full() {
    let limiter = none_waits(1);
    let endpoint = ready_endpoint([("app", Arc::new(limiter.clone()) as _)]);
    let strict = endpoint.clone().unready_when_saturated();
    let app = Router::<()>::new().route_service("/ready", endpoint).route_service("/strict", strict);
    let ask = async |path: &str| {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), text(response).await)
    };
    let ready = r#"{"ready":true,"parts":{"app":{"state":"ready","available":1}}}"#.to_owned();
    assert_eq!(ask("/ready").await, (200, ready));
    let _held = limiter.try_acquire(1).unwrap();
    let (status, body) = ask("/ready").await;
    assert!(status == 200 && body.contains("saturated"), "{status} {body}");
    assert_eq!(ask("/strict").await.0, 503);
    let _drained = limiter.drain();
    let (status, body) = ask("/ready").await;
    assert!(status == 503 && body.contains("draining"), "{status} {body}");
}

/// One frame of a large body.
const KIBIBYTES_64: &str = match std::str::from_utf8(&[b'x'; 1 << 16]) {
    Ok(text) => text,
    Err(_) => "",
};

/// hyper's server over a pipe: the permit lasts as long as the body, and comes back when the client goes.
#[tokio::test]
async fn behind_hyper_a_permit_lasts_as_long_as_its_body() {
    let limiter = none_waits(1);
    // Far more than a pipe and hyper's buffers hold.
    let large = || async { stream(vec![Ok(KIBIBYTES_64); 64]) };
    let app = Router::<()>::new().route("/", get(large)).layer(
        LimitLayer::new(limiter.clone()).on_refusal(RespondWith::service_unavailable()).hold(UntilBodyEnd),
    );
    let connect = async || {
        let (client, server) = tokio::io::duplex(1 << 16);
        let service = hyper_util::service::TowerToHyperService::new(app.clone());
        let server = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(server), service);
        let server = tokio::spawn(async move { drop(server.await) });
        let io = hyper_util::rt::TokioIo::new(client);
        let (sender, connection) = hyper::client::conn::http1::handshake::<_, Body>(io).await.unwrap();
        (sender, tokio::spawn(async move { drop(connection.await) }), server)
    };
    let request = || Request::builder().header("host", "app").body(Body::empty()).unwrap();
    let (mut sender, _connection, _server) = connect().await;
    let response = sender.send_request(request()).await.unwrap();
    assert_eq!((response.status().as_u16(), limiter.stats().in_flight), (200, 1), "its body is on the way");
    let (mut second, _connection_2, _server_2) = connect().await;
    assert_eq!(second.send_request(request()).await.unwrap().status(), 503);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 4 << 20);
    while limiter.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    let (mut third, connection, server) = connect().await;
    let response = third.send_request(request()).await.unwrap();
    assert_eq!(limiter.stats().in_flight, 1);
    drop((response, third));
    connection.abort();
    server.await.unwrap();
    assert_eq!(limiter.stats().in_flight, 0, "the client left, the permit came back");
}

#[tokio::test]
async fn a_router_in_a_layer_of_its_own_keeps_its_error_infallible() {
    fn infallible<S: tower::Service<Request, Error = std::convert::Infallible>>(_: &S) {}
    let app = Router::<()>::new().route("/", get(|| async { "hello" }));
    let service = LimitLayer::new(none_waits(1)).on_refusal(RespondWith::service_unavailable()).layer(app);
    infallible(&service);
    assert_eq!(service.oneshot(get_root()).await.unwrap().status(), 200);
}
