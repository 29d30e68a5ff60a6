//! Connections, no more than there are permits for: one is taken before the next connection is accepted.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tidegate::Limiter;
use tidegate::gate::Accept;
use tidegate::gate::accept::Accepted;
use tokio::net::{TcpListener, TcpStream};

/// Open connections at most. Whoever is served, waits or is being refused has one, 125 and a few; the others wait in the
/// kernel for the moment that a refusal takes.
pub(crate) const CONNECTIONS: u64 = 1024;
/// Waiting connections in the kernel, which caps it at `net.core.somaxconn`, by default 4096.
const BACKLOG: u32 = 4096;
/// Longest time for a request's head: a client that sends none must not keep its connection.
const HEAD: Duration = Duration::from_secs(5);

/// A socket at `address`.
pub(crate) fn bind(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections, at most `connections` at a time. Ends with an error when the listener is of no use any more.
pub(crate) async fn serve(listener: TcpListener, connections: u64, app: Router) -> io::Result<()> {
    let gate = Accept::new(listener, Limiter::fixed(connections))?;
    loop {
        let Accepted { stream, permit, .. } = match gate.accept().await {
            Ok(accepted) => accepted,
            Err(ended) if ended.is_draining() => return Ok(()),
            Err(ended) => return Err(io::Error::other(ended)),
        };
        let Ok(presence) = Presence::of(&stream) else { continue };
        let app = TowerToHyperService::new(app.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(presence.clone());
            app.call(request)
        });
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // Its error is the client's business: it left, or sent what is no request.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

/// Tells whether a client is still there, as the kernel knows it at this moment: the runtime hears of it a little later,
/// when it next looks, and hyper when the runtime says so.
#[derive(Clone, Debug)]
pub(crate) struct Presence(Arc<OwnedFd>);

impl Presence {
    fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self(Arc::new(stream.as_fd().try_clone_to_owned()?)))
    }

    /// False once the client has closed its connection, or its sending half.
    pub(crate) fn is_there(&self) -> bool {
        let mut byte = [0];
        match recv(&*self.0, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, bytes)) => bytes > 0,
            Err(error) => error == Errno::AGAIN,
        }
    }
}
