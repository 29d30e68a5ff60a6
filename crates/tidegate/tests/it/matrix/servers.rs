//! hyper's server with ours behind its adapter, and clients whose connections close, or are reset.

use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tidegate::tower::BoxError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::Layer;

use super::SERVERS;
use super::cell::{Cell, Gate};
use super::routers::{answer, limit};

/// Serves one connection with `service`, on a task of its own.
macro_rules! serve {
    ($io:expr, $service:expr) => {{
        let service = TowerToHyperService::new($service.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new($io), service);
        tokio::spawn(async move { drop(connection.await) })
    }};
}

/// Whatever hyper has read, as axum's request.
async fn work(
    gate: Gate,
    request: http::Request<hyper::body::Incoming>,
) -> Result<axum::response::Response, std::convert::Infallible> {
    let request: Request = request.map(axum::body::Body::new);
    Ok(answer(gate, request).await)
}

async fn ask(mut server: impl AsyncRead + AsyncWrite + Unpin, n: u32) -> Result<u32, BoxError> {
    let head = format!("GET /{n} HTTP/1.0\r\nhost: app\r\n\r\n");
    server.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    if head.starts_with("HTTP/1.0 200") { Ok(body.parse()?) } else { Err(head.into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_close() {
    let cell = Cell::new().turns(16);
    let gate = cell.gate();
    let service = limit(&cell).layer(tower::service_fn(move |request| work(gate.clone(), request)));
    let call = tower::service_fn(move |n| {
        let service = service.clone();
        async move {
            let (client, server) = tokio::io::duplex(64);
            let _served = serve!(server, service);
            ask(client, n).await
        }
    });
    cell.holds(call, SERVERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reset() {
    let cell = Cell::new().turns(64);
    let gate = cell.gate();
    let service = limit(&cell).layer(tower::service_fn(move |request| work(gate.clone(), request)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepts = tokio::spawn(async move {
        while let Ok((server, _)) = listener.accept().await {
            let _served = serve!(server, service);
        }
    });
    let call = tower::service_fn(move |n| async move {
        let client = TcpStream::connect(address).await?;
        // Closing it resets it.
        client.set_zero_linger()?;
        ask(client, n).await
    });
    cell.holds(call, SERVERS).await;
    accepts.abort();
}
