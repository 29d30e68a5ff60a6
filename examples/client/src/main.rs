//! A reqwest client behind three layers, against a service that it starts itself and that does two things at a time. It
//! prints what each caller learns, and when.
//!
//! ```sh
//! cargo run -p example-client
//! cargo run -p example-client -- http://127.0.0.1:8080/    # another service, behind the gateway for example
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tidegate::http::{
    ByAuthority, ByStatus, HearBodyLayer, HearHttp, HeardBody, RepeatHttp, RespondWith, UntilBodyEnd,
};
use tidegate::tower::{BoxError, LimitLayer, Pushback, PushbackLayer, RestrainLayer, RetryLayer};
use tidegate::{Limiter, QueueConfig, Refused};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

/// What a piece of work takes.
const WORK: Duration = Duration::from_millis(200);
const CALLERS: usize = 12;

/// Two at a time, nobody waits: everybody else is told when to come back.
async fn serve() -> Result<SocketAddr, BoxError> {
    let limiter = Limiter::builder().name("work").limit(2).queue(QueueConfig::none()).build()?;
    let work = |body: String| async move {
        tokio::time::sleep(WORK).await;
        format!("done: {body}")
    };
    let app = Router::new().route("/", post(work)).layer(
        LimitLayer::new(limiter)
            .outcome(ByStatus)
            .on_refusal(RespondWith::service_unavailable().problem_json())
            .hold(UntilBodyEnd),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// reqwest, in the types of `http`: what it cannot do in its own is to carry extensions.
async fn send(client: reqwest::Client, request: Request<Bytes>) -> reqwest::Result<Response<reqwest::Body>> {
    Ok(client.execute(reqwest::Request::try_from(request)?).await?.into())
}

/// An error of reqwest's that says that the server was never reached.
fn never_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
}

type Answer = Response<HeardBody<reqwest::Body>>;

/// Innermost first: the body's word is heard; a "not now" holds for everybody; who has patience comes back at its moment;
/// and a server that refuses most of it all the same is asked for less.
fn client(
    patience: Duration,
) -> impl Service<Request<Bytes>, Response = Answer, Error = BoxError, Future: Send> + Clone + Send + 'static
{
    let hear = HearHttp::new().unprocessed_if(never_sent);
    // A redirect that reqwest follows by itself would hide whose answer, or whose fault, it is.
    let reqwest = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let reqwest = reqwest.unwrap_or_default();
    let service = tower::service_fn(move |request| send(reqwest.clone(), request));
    let service = PushbackLayer::new(hear).by(ByAuthority).layer(HearBodyLayer.layer(service));
    let service = RetryLayer::new(patience, RepeatHttp).hear(hear).layer(service);
    RestrainLayer::new().hear(hear).layer(service)
}

/// What a caller learns.
async fn learns(result: Result<Answer, BoxError>) -> String {
    match result {
        Ok(response) if response.status() == StatusCode::OK => match response.into_body().collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim_end().to_owned(),
            Err(error) => format!("the answer broke off: {error}"),
        },
        Ok(response) => {
            let status = response.status();
            match response.extensions().get().and_then(Pushback::moment) {
                Some(moment) => format!("{status}, come back in {} ms", moment.as_millis()),
                None => format!("{status}"),
            }
        }
        Err(error) => match Refused::find(&*error) {
            Some(refused) => format!("not sent: {refused}"),
            None => format!("failed: {error}"),
        },
    }
}

/// Twelve callers at once with so much patience each; what they learn, in the order of their learning it.
async fn run(url: &str, patience: Duration) -> Result<Vec<String>, BoxError> {
    let client = client(patience);
    let (report, mut reports) = tokio::sync::mpsc::channel(CALLERS);
    let begun = Instant::now();
    for caller in 0..CALLERS {
        let request = Request::post(url).body(Bytes::from(format!("caller {caller}")))?;
        let (client, report) = (client.clone(), report.clone());
        tokio::spawn(async move {
            let learnt = learns(client.oneshot(request).await).await;
            let line = format!("{:>5} ms  {learnt}", begun.elapsed().as_millis());
            // Nobody listens any more only if the program ends.
            let _ = report.send(line).await;
        });
    }
    drop(report);
    let mut lines = Vec::new();
    while let Some(line) = reports.recv().await {
        println!("{line}");
        lines.push(line);
    }
    Ok(lines)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = match std::env::args().nth(1) {
        Some(url) => url,
        None => format!("http://{}/", serve().await?),
    };
    for patience in [Duration::from_millis(500), Duration::from_secs(15)] {
        println!("{CALLERS} callers with a patience of {} ms:", patience.as_millis());
        run(&url, patience).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[String], what: &str) -> usize {
        lines.iter().filter(|line| line.contains(what)).count()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_patient_are_served_at_their_moment() {
        let url = format!("http://{}/", serve().await.unwrap());
        let lines = run(&url, Duration::from_secs(120)).await.unwrap();
        // On a busy machine two moments may come together and the budget may then be spent; nobody is left without an answer.
        let served = count(&lines, "done: caller");
        assert_eq!(served + count(&lines, "come back in"), CALLERS, "{lines:#?}");
        assert!(served >= CALLERS / 2, "{lines:#?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_impatient_are_told_at_once() {
        let url = format!("http://{}/", serve().await.unwrap());
        let lines = run(&url, Duration::from_millis(900)).await.unwrap();
        let (served, told) =
            (count(&lines, "done: caller"), count(&lines, "come back in") + count(&lines, "not sent"));
        assert_eq!((count(&lines, "failed"), served + told), (0, CALLERS), "{lines:#?}");
        assert!(served >= 1 && told >= 1, "{lines:#?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_that_cannot_be_reached_has_done_nothing_of_a_post() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let reborn = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let app = Router::new().route("/", post(|body: String| async move { body }));
            axum::serve(TcpListener::bind(address).await.unwrap(), app).await
        });
        let hear = HearHttp::new().unprocessed_if(never_sent);
        let reqwest = reqwest::Client::new();
        let service = tower::service_fn(move |request| send(reqwest.clone(), request));
        let layer = RetryLayer::new(Duration::from_secs(120), RepeatHttp).attempts(100).hear(hear);
        let service = layer.budget(tidegate::tower::RetryBudget::new(0.0, 100)).layer(service);
        let request = Request::post(format!("http://{address}/")).body(Bytes::from_static(b"again")).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
        reborn.abort();
    }

    /// reqwest's own types, with closures.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn reqwests_own_requests_are_repeated_too() {
        let address = serve().await.unwrap();
        let hear = |result: Result<&reqwest::Response, &BoxError>| match result {
            Ok(response) => tidegate::http::pushback(response.status(), response.headers(), b""),
            Err(error) => Pushback::of_error(&**error),
        };
        let idempotent = |_: &reqwest::Request| true;
        let repeat = (reqwest::Request::try_clone, idempotent);
        let client = reqwest::Client::new();
        let service = RetryLayer::new(Duration::from_secs(120), repeat).attempts(20).hear(hear);
        let service = service.layer(PushbackLayer::new(hear).layer(client.clone()));
        let calls: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn(
                    service.clone().oneshot(client.post(format!("http://{address}/")).build().unwrap()),
                )
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().status(), 200);
        }
    }
}
