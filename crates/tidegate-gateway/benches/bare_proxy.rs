//! The floor of what proxying costs: hyper on both sides, the gateway's own origin pool, its threads and allocator,
//! and no feature.
//!
//! `scripts/bench-cost` runs it beside the gateway: `bare_proxy <LISTEN> <ORIGIN>`. It passes requests without a
//! body. Run without arguments, as `cargo bench` does, it ends at once.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a program of its own: it may stop where it stands

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_gateway::body::BoxError;
use tidegate_gateway::origin::{Origin, OriginSettings, ReplyBody, RequestBody};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

async fn pass(origin: Arc<Origin>, request: Request<Incoming>) -> Result<Response<ReplyBody>, BoxError> {
    let (head, _) = request.into_parts();
    let reply = origin.send(Request::from_parts(head, RequestBody::empty())).await?;
    Ok(Response::from_parts(reply.head, reply.body))
}

async fn serve(tcp: TcpStream, origin: Arc<Origin>) {
    let _ = tcp.set_nodelay(true);
    let service = service_fn(move |request| pass(Arc::clone(&origin), request));
    // What ends it early is for the load generator to tell.
    let _ = Builder::new().serve_connection(TokioIo::new(tcp), service).await;
}

async fn run(listen: &str, origin: &str) {
    let address = origin.parse().expect("an origin such as http://127.0.0.1:9000");
    let origin = Origin::new(address, OriginSettings::default()).unwrap();
    let listener = TcpListener::bind(listen).await.expect("a free address");
    eprintln!("a bare proxy on {listen} for {}", origin.address());
    while let Ok((tcp, _)) = listener.accept().await {
        tokio::spawn(serve(tcp, Arc::clone(&origin)));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [listen, origin] = arguments.as_slice() else {
        println!("usage: bare_proxy <LISTEN> <ORIGIN> (scripts/bench-cost runs it)");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(listen, origin));
}
