//! Connections, no more than there are permits for: one is taken before the next connection is.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tidegate::{Demand, Limiter};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Open connections at most. Whoever is served, waits or is being refused has one, 125 and a few; the others wait in the
/// kernel for the moment that a refusal takes.
pub(crate) const CONNECTIONS: u64 = 1024;
/// Waiting connections in the kernel, which caps it at `net.core.somaxconn`, by default 4096.
const BACKLOG: u32 = 4096;
/// Longest time for a request's head: a client that sends none must not keep its connection.
const HEAD: Duration = Duration::from_secs(5);
/// Pause when no connection can be taken, for want of file descriptors: they come back as connections end.
const PAUSE: Duration = Duration::from_millis(50);

/// A socket at `address`.
pub(crate) fn bind(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections, at most as many as `connections` has permits. Does not end.
pub(crate) async fn serve(listener: TcpListener, connections: Limiter, app: Router) {
    loop {
        // Refused only after a long wait; there is nobody else to tell.
        let Ok(permit) = connections.acquire(Demand::ONE).await else { continue };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let app = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // Its error is the client's business: it left, or sent what is no request.
            let _ = http.serve_connection(TokioIo::new(stream), app).await;
            drop(permit);
        });
    }
}
