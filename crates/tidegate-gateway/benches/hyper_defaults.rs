//! hyper's servers with nothing set, for `scripts/bench-memory` to attack: the paths of the lab's origin.
//!
//! Prints the address of HTTP/2 and the one of HTTP/1.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Of bytes of its own, as a service makes them.
const PIECE: usize = 16 * 1024;

struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'h'; PIECE])))))
    }
}

type Reply = Response<Either<Full<Bytes>, Endless>>;

async fn answer(request: Request<Incoming>, dam: Arc<watch::Sender<bool>>) -> Result<Reply, Infallible> {
    let full = |text: String| Ok(Response::new(Either::Left(Full::new(text.into()))));
    match request.uri().path() {
        "/.lab/endless" => Ok(Response::new(Either::Right(Endless))),
        "/.lab/release" => {
            dam.send_replace(true);
            full("released\n".into())
        }
        "/.lab/unread" => {
            dam.subscribe().wait_for(|released| *released).await.unwrap();
            let (mut body, mut read) = (request.into_body(), 0);
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
            }
            full(format!("{read}\n"))
        }
        _ => full("done\n".into()),
    }
}

#[tokio::main]
async fn main() {
    let (two, one) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    println!("{} {}", two.local_addr().unwrap(), one.local_addr().unwrap());
    let dam = Arc::new(watch::Sender::new(false));
    loop {
        let (tcp, http2) = tokio::select! {
            accepted = two.accept() => (accepted, true),
            accepted = one.accept() => (accepted, false),
        };
        let Ok((tcp, _)) = tcp else { continue };
        let dam = Arc::clone(&dam);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&dam)));
            let io = TokioIo::new(tcp);
            if http2 {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            } else {
                let mut builder = hyper::server::conn::http1::Builder::new();
                let _ = builder.timer(TokioTimer::new()).serve_connection(io, service).await;
            }
        });
    }
}
