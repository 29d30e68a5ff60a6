//! An actix-web service that does two searches at a time, whichever of its workers they come to, lets a few callers
//! wait, tells everybody else at once when to come back, and can be asked how full it is.
//!
//! ```sh
//! cargo run -p example-actix       # then: curl -i localhost:3000/search
//! curl -i localhost:3000/ready     # answered while everything is full
//! seq 20 | xargs -P20 -I{} curl -s -o /dev/null -w '%{http_code} %header{retry-after}\n' localhost:3000/search
//! ```

use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};
use tidegate::actix::Limit;
use tidegate::{Limiter, QueueConfig, Readiness};

/// Searches at a time, and callers that may wait for one.
const SEARCHES: u64 = 2;
const PLACES: u64 = 4;
/// What a search takes.
const SEARCH: Duration = Duration::from_millis(200);

async fn search() -> &'static str {
    tokio::time::sleep(SEARCH).await;
    "found\n"
}

async fn ready(searches: web::Data<Limiter>) -> HttpResponse {
    match searches.readiness() {
        Readiness::Ready { available } => HttpResponse::Ok().body(format!("{available} free\n")),
        Readiness::Draining { .. } => HttpResponse::ServiceUnavailable().body("draining\n"),
        // Full is no reason to leave: if every replica left for it, none would be there.
        _ => HttpResponse::Ok().body("busy\n"),
    }
}

/// The same in every worker: the limiter is one.
fn routes(searches: Limiter) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let limited =
            web::resource("/search").wrap(Limit::new(searches.clone())).route(web::get().to(search));
        config.service(limited).app_data(web::Data::new(searches)).route("/ready", web::get().to(ready));
    }
}

fn limiter() -> Result<Limiter, tidegate::ConfigError> {
    Limiter::builder().name("searches").limit(SEARCHES).queue(QueueConfig::bounded(PLACES)).build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let searches = limiter()?;
    let server = HttpServer::new(move || App::new().configure(routes(searches.clone())))
        // Else the search goes on for a client that closed its connection.
        .h1_allow_half_closed(false)
        .bind(address)?;
    for address in server.addrs() {
        println!("listening on http://{address}");
    }
    actix_web::rt::System::new().block_on(server.run())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_are_served_four_wait_and_the_others_are_told_at_once() {
        let limiter = limiter().unwrap();
        // Two workers, each with an application of its own.
        let apps = [
            init_service(App::new().configure(routes(limiter.clone()))).await,
            init_service(App::new().configure(routes(limiter.clone()))).await,
        ];
        let begun = tokio::time::Instant::now();
        let mut calls = Vec::new();
        for n in 0..20 {
            let mut call =
                Box::pin(call_service(&apps[n % 2], TestRequest::with_uri("/search").to_request()));
            if let std::task::Poll::Ready(refused) =
                std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await
            {
                assert_eq!(refused.status(), 503);
                assert!(refused.headers().contains_key("retry-after"));
            } else {
                calls.push(call);
            }
        }
        assert_eq!((limiter.stats().in_flight, limiter.stats().waiting), (SEARCHES, PLACES));
        let ready = call_service(&apps[0], TestRequest::with_uri("/ready").to_request()).await;
        assert_eq!(read_body(ready).await, "busy\n");

        assert_eq!(calls.len() as u64, SEARCHES + PLACES);
        for call in calls {
            let response = call.await;
            assert_eq!(response.status(), 200);
            assert_eq!(read_body(response).await, "found\n");
        }
        assert!(begun.elapsed() >= 3 * SEARCH, "three rounds of two");
        assert_eq!(limiter.stats().in_flight, 0);
        let ready = call_service(&apps[1], TestRequest::with_uri("/ready").to_request()).await;
        assert_eq!(read_body(ready).await, "2 free\n");
    }
}
