//! tonic's server with ours in it: calls and streams that are reset, connections that close.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use futures_core::Stream;
use hyper_util::rt::TokioIo;
use tidegate::http::{ByStatus, RespondWith, UntilBodyEnd, until_deadline};
use tidegate::tower::LimitLayer;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status};
use tower::Service;

use super::GRPC;
use super::cell::{Cell, Gate};

/// Numbers as messages.
#[derive(Clone, Copy, Default)]
struct Number;

impl Codec for Number {
    type Encode = u32;
    type Decode = u32;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Number {
    type Item = u32;
    type Error = Status;

    fn encode(&mut self, n: u32, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_u32(n);
        Ok(())
    }
}

impl Decoder for Number {
    type Item = u32;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<u32>, Status> {
        Ok(Some(from.get_u32()))
    }
}

/// The same number three times, a turn of the runtime after the other.
struct Thrice {
    n: u32,
    left: u8,
    waited: bool,
}

impl Stream for Thrice {
    type Item = Result<u32, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.left.checked_sub(1);
        self.left = next.unwrap_or(0);
        Poll::Ready(next.map(|_| Ok(self.n)))
    }
}

/// What is generated from a service's description elsewhere: two methods, one of which answers with a stream.
#[derive(Clone)]
struct Numbers(Gate);

const ONE: &str = "/numbers.Numbers/One";
const MANY: &str = "/numbers.Numbers/Many";

impl tonic::server::NamedService for Numbers {
    const NAME: &'static str = "numbers.Numbers";
}

impl Service<http::Request<tonic::body::Body>> for Numbers {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let gate = self.0.clone();
        let work = move |request: Request<u32>| {
            let work = gate.clone().work(request.into_inner());
            async { work.await.map_err(|error| Status::internal(error.to_string())) }
        };
        let one = request.uri().path() == ONE;
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Number);
            Ok(if one {
                let answer = move |request| {
                    let work = work(request);
                    async { work.await.map(Response::new) }
                };
                grpc.unary(tower::service_fn(answer), request).await
            } else {
                let answer = move |request| {
                    let work = work(request);
                    async { work.await.map(|n| Response::new(Thrice { n, left: 3, waited: false })) }
                };
                grpc.server_streaming(tower::service_fn(answer), request).await
            })
        })
    }
}

/// The connections that clients make.
struct Incoming(mpsc::Receiver<DuplexStream>);

impl Stream for Incoming {
    type Item = std::io::Result<DuplexStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|next| next.map(Ok))
    }
}

/// A server with ours around its routes, and what makes channels to it.
fn served(cell: &Cell) -> impl Fn() -> Channel + Clone + Send + 'static + use<> {
    let limit = LimitLayer::new(cell.limiter())
        .demand(until_deadline::<tonic::body::Body>)
        .outcome(ByStatus)
        .on_refusal(RespondWith::grpc())
        .hold(UntilBodyEnd);
    let (say, hear) = mpsc::channel(16);
    let server = Server::builder()
        // A client that does nothing but reset its calls would be told to go away.
        .http2_max_pending_accept_reset_streams(Some(100_000))
        .layer(limit)
        .add_service(Numbers(cell.gate()))
        .serve_with_incoming(Incoming(hear));
    tokio::spawn(async move { drop(server.await) });
    move || {
        let say = say.clone();
        Endpoint::from_static("http://numbers").connect_with_connector_lazy(tower::service_fn(
            move |_: Uri| {
                let say = say.clone();
                async move {
                    let (client, server) = tokio::io::duplex(4096);
                    say.send(server).await.map_err(std::io::Error::other)?;
                    Ok::<_, std::io::Error>(TokioIo::new(client))
                }
            },
        ))
    }
}

async fn one(channel: Channel, n: u32) -> Result<u32, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let answer = grpc.unary(Request::new(n), http::uri::PathAndQuery::from_static(ONE), Number).await?;
    Ok(answer.into_inner())
}

async fn many(channel: Channel, n: u32) -> Result<u32, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(MANY);
    let mut answers = grpc.server_streaming(Request::new(n), path, Number).await?.into_inner();
    for _ in 0..3 {
        assert_eq!(answers.message().await?, Some(n));
    }
    assert_eq!(answers.message().await?, None);
    Ok(n)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_reset() {
    let cell = Cell::new().turns(16);
    let channel = served(&cell)();
    cell.holds(tower::service_fn(move |n| one(channel.clone(), n)), GRPC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_reset() {
    let cell = Cell::new().turns(32);
    let channel = served(&cell)();
    cell.holds(tower::service_fn(move |n| many(channel.clone(), n)), GRPC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_close() {
    let cell = Cell::new().turns(64);
    let connect = served(&cell);
    cell.holds(tower::service_fn(move |n| many(connect(), n)), GRPC).await;
}
