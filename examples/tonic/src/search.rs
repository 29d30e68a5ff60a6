//! The service: `Find` answers once, `Watch` with a stream. What is written by hand here is elsewhere generated from
//! a service's description.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::Interval;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tower::{Service, service_fn};

use crate::text::Text;

/// What a search takes, and what lies between two hits of a stream.
pub(crate) const SEARCH: Duration = Duration::from_millis(200);
/// Hits in a stream.
pub(crate) const HITS: u32 = 3;

pub(crate) const FIND: &str = "/example.Search/Find";
pub(crate) const WATCH: &str = "/example.Search/Watch";

async fn find(request: Request<String>) -> Result<Response<String>, Status> {
    tokio::time::sleep(SEARCH).await;
    Ok(Response::new(format!("found {}", request.into_inner())))
}

async fn watch(request: Request<String>) -> Result<Response<Hits>, Status> {
    Ok(Response::new(Hits { what: request.into_inner(), count: 0, pace: tokio::time::interval(SEARCH) }))
}

/// A hit now and then.
struct Hits {
    what: String,
    count: u32,
    pace: Interval,
}

impl Stream for Hits {
    type Item = Result<String, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.count == HITS {
            return Poll::Ready(None);
        }
        ready!(self.pace.poll_tick(cx));
        self.count += 1;
        Poll::Ready(Some(Ok(format!("{} {}", self.what, self.count))))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Search;

impl NamedService for Search {
    const NAME: &'static str = "example.Search";
}

impl Service<http::Request<Body>> for Search {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(Text);
            Ok(match request.uri().path() {
                FIND => grpc.unary(service_fn(find), request).await,
                WATCH => grpc.server_streaming(service_fn(watch), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}
