//! axum's router with ours around it, in it, on one of its routes, and below it.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::BodyExt;
use tidegate::http::{RespondWith, UntilBodyEnd};
use tidegate::tower::{BoxError, LimitLayer, OneEach};
use tower::{Layer, Service, ServiceExt};

use super::ROUTERS;
use super::cell::{Cell, Gate};

/// What ours is in these cells: the permit lasts as long as the body.
pub(super) fn limit(
    cell: &Cell,
) -> LimitLayer<OneEach, tidegate::tower::ErrIsIgnored, RespondWith, UntilBodyEnd> {
    LimitLayer::new(cell.limiter()).on_refusal(RespondWith::service_unavailable()).hold(UntilBodyEnd)
}

/// A body that has its two frames one turn of the runtime later.
#[derive(Default)]
struct Slow {
    frames: Vec<Bytes>,
    waited: bool,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop().map(|frame| Ok(http_body::Frame::data(frame))))
    }
}

/// Answers with the number in its path.
pub(super) async fn answer(gate: Gate, request: Request) -> Response {
    let n = request.uri().path().rsplit('/').next().and_then(|n| n.parse().ok()).unwrap();
    let n = gate.work(n).await.unwrap().to_string();
    let (begin, end) = n.split_at(n.len() / 2);
    let frames = vec![Bytes::copy_from_slice(end.as_bytes()), Bytes::copy_from_slice(begin.as_bytes())];
    Body::new(Slow { frames, waited: false }).into_response()
}

fn handler(cell: &Cell) -> axum::routing::MethodRouter {
    let gate = cell.gate();
    get(move |request: Request| answer(gate.clone(), request))
}

/// Calls an application and reads its answer.
fn through<S, B>(
    app: S,
    prefix: &'static str,
) -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send
where
    S: Service<Request, Response = http::Response<B>, Error: Into<BoxError>, Future: Send> + Clone + Send,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send,
{
    tower::service_fn(move |n: u32| {
        let app = app.clone();
        async move {
            let request = Request::builder().uri(format!("{prefix}/{n}")).body(Body::empty())?;
            let response = app.oneshot(request).await.map_err(Into::into)?;
            if response.status() != 200 {
                return Err(response.status().to_string().into());
            }
            let text = response.into_body().collect().await.map_err(Into::into)?.to_bytes();
            Ok(std::str::from_utf8(&text)?.parse()?)
        }
    })
}

fn app(cell: &Cell) -> Router {
    Router::new().route("/{n}", handler(cell))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_router() {
    let cell = Cell::new().turns(8);
    let app = app(&cell).layer(limit(&cell));
    cell.holds(through(app, ""), ROUTERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_router_with_the_strict_contract() {
    let cell = Cell::new().turns(8);
    let strict = limit(&cell).reserve().lapse_after(std::time::Duration::from_millis(2));
    let app = app(&cell).layer(strict);
    cell.holds(through(app, ""), ROUTERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_route() {
    let cell = Cell::new().turns(8);
    let app = Router::new().route("/{n}", handler(&cell).layer(limit(&cell))).route("/", get(|| async {}));
    cell.holds(through(app, ""), ROUTERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn around_a_router() {
    let cell = Cell::new().turns(8);
    let service = limit(&cell).layer(app(&cell));
    cell.holds(through(service, ""), ROUTERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn around_a_router_below_another() {
    let cell = Cell::new().turns(8);
    let outer = Router::<()>::new().nest_service("/in", limit(&cell).layer(app(&cell)));
    cell.holds(through(outer, "/in"), ROUTERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn around_a_router_with_a_layer_of_its_own() {
    let cell = Cell::new().turns(8);
    let own = LimitLayer::new(tidegate::Limiter::fixed(2)).on_refusal(RespondWith::service_unavailable());
    let service = limit(&cell).layer(app(&cell).layer(own));
    cell.holds(through(service, ""), ROUTERS).await;
}
