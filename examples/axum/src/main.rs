//! An axum service that does two searches at a time, lets a few callers wait, tells everybody else at once when to come
//! back, and can be asked how full it is.
//!
//! ```sh
//! cargo run -p example-axum        # then: curl -i localhost:3000/search
//! curl -i localhost:3000/ready     # answered while everything is full
//! seq 20 | xargs -P20 -I{} curl -s -o /dev/null -w '%{http_code} %header{retry-after}\n' localhost:3000/search
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use tidegate::http::{ByStatus, HeaderDeadline, RespondWith, UntilBodyEnd, ready_endpoint, until_deadline};
use tidegate::tower::{DeadlineLayer, LimitLayer};
use tidegate::{Limiter, QueueConfig};

/// Searches at a time, and callers that may wait for one.
const SEARCHES: u64 = 2;
const PLACES: u64 = 4;
/// What a search takes.
const SEARCH: Duration = Duration::from_millis(200);

async fn search() -> &'static str {
    tokio::time::sleep(SEARCH).await;
    "found\n"
}

fn app(searches: &Limiter) -> Router {
    // Innermost first: who is admitted is served; the deadline counts the wait as well. The router's error stays
    // Infallible, so there is no HandleErrorLayer.
    let limit = LimitLayer::new(searches.clone())
        .demand(until_deadline::<Body>)
        .outcome(ByStatus)
        .on_refusal(RespondWith::service_unavailable().problem_json())
        .hold(UntilBodyEnd);
    let deadline = DeadlineLayer::new(Duration::from_secs(10))
        .time_left(HeaderDeadline)
        .on_refusal(RespondWith::service_unavailable().problem_json());
    Router::new()
        .route("/search", get(search))
        .layer(limit)
        .layer(deadline)
        // Added after the layers, so that it is not behind them.
        .route_service("/ready", ready_endpoint([("searches", Arc::new(searches.clone()) as _)]))
}

fn limiter() -> Result<Limiter, tidegate::ConfigError> {
    Limiter::builder().name("searches").limit(SEARCHES).queue(QueueConfig::bounded(PLACES)).build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(&limiter()?)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use axum::http::StatusCode;
    use tower::ServiceExt;

    use super::*;

    fn request(path: &str) -> Request {
        Request::builder().uri(path).body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn two_are_served_four_wait_and_the_others_are_told_at_once() {
        let limiter = limiter().unwrap();
        let app = app(&limiter);
        let begun = tokio::time::Instant::now();
        let calls: Vec<_> = (0..20).map(|_| tokio::spawn(app.clone().oneshot(request("/search")))).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!((limiter.stats().in_flight, limiter.stats().waiting), (SEARCHES, PLACES));
        let ready = app.oneshot(request("/ready")).await.unwrap();
        let ready = axum::body::to_bytes(ready.into_body(), 1024).await.unwrap();
        assert!(ready.starts_with(br#"{"ready":true,"parts":{"searches":{"state":"saturated""#), "{ready:?}");

        let (mut served, mut refused) = (0, 0);
        for call in calls {
            let response = call.await.unwrap().unwrap();
            match response.status() {
                StatusCode::OK => served += 1,
                StatusCode::SERVICE_UNAVAILABLE => {
                    assert!(response.headers().contains_key("retry-after"));
                    refused += 1;
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!((served, refused), (SEARCHES + PLACES, 20 - SEARCHES - PLACES));
        assert!(begun.elapsed() >= 3 * SEARCH, "three rounds of two");
        assert_eq!(limiter.stats().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_with_little_time_waits_no_longer_than_that() {
        let limiter = limiter().unwrap();
        let _held = limiter.try_acquire(SEARCHES).unwrap();
        let hurried = Request::builder().uri("/search").header("x-request-timeout", "50ms");
        let begun = tokio::time::Instant::now();
        let response = app(&limiter).oneshot(hurried.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(begun.elapsed() <= Duration::from_millis(60));
        assert_eq!(limiter.stats().waiting, 0);
    }
}
