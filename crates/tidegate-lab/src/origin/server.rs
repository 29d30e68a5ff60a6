//! HTTP around the workers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use super::workers::{OriginSettings, OriginStats, Workers};
use crate::io::Io;
use crate::spec;

/// Connections at once: above what a lab run opens, below the usual limit of open files (with `ulimit -n`
/// raised).
const CONNECTIONS: usize = 20_000;

/// The fragile origin, bound to its address.
///
/// Every path is work for a worker, except `GET /.lab/stats` (JSON) and
/// `POST /.lab/set?workers=5&mean=20ms&delay=1ms`, which change it while it runs.
#[derive(Debug)]
pub struct Origin {
    listener: TcpListener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    workers: Mutex<Workers>,
    arrived: Notify,
}

impl Shared {
    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Origin {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub async fn bind(address: SocketAddr, settings: OriginSettings) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let shared = Shared { workers: Mutex::new(Workers::new(settings)), arrived: Notify::new() };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped. At the bound of connections, new ones wait in the backlog.
    pub async fn serve(self) {
        let Self { listener, shared } = self;
        tokio::select! {
            () = accept(listener, Arc::clone(&shared)) => {}
            () = drive(&shared) => {}
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: closing connections will give some back.
            sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            // A connection that breaks is a client that left; the workers count it.
            let _ = http1::Builder::new().serve_connection(Io(stream), service).await;
            drop(place);
        });
    }
}

/// Lets the workers' time pass.
async fn drive(shared: &Shared) {
    loop {
        let arrived = shared.arrived.notified();
        let next = shared.workers().advance(Instant::now());
        match next {
            Some(next) => tokio::select! { () = sleep_until(next) => {} () = arrived => {} },
            None => arrived.await,
        }
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/.lab/stats") => {
            let stats: OriginStats = {
                let mut workers = shared.workers();
                workers.advance(Instant::now());
                workers.stats()
            };
            (StatusCode::OK, serde_json::to_vec(&stats).unwrap_or_default().into())
        }
        (&Method::POST, "/.lab/set") => match set(request.uri(), shared) {
            Ok(()) => (StatusCode::OK, Bytes::from_static(b"changed\n")),
            Err(wrong) => (StatusCode::BAD_REQUEST, (wrong + "\n").into()),
        },
        _ => work(shared).await,
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}

async fn work(shared: &Shared) -> (StatusCode, Bytes) {
    let delay = shared.workers().settings.delay;
    if !delay.is_zero() {
        sleep(delay).await;
    }
    let answer = shared.workers().arrive(Instant::now());
    shared.arrived.notify_one();
    let done = match answer {
        Some(done) => done.await.is_ok(),
        None => false,
    };
    if done {
        (StatusCode::OK, Bytes::from_static(b"done\n"))
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(b"a million requests wait already\n"))
    }
}

fn set(uri: &Uri, shared: &Shared) -> Result<(), String> {
    let mut workers = shared.workers();
    let mut settings = workers.settings;
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("workers", number)) => {
                settings.workers = number
                    .parse()
                    .ok()
                    .filter(|workers| (1..=1_000_000).contains(workers))
                    .ok_or_else(|| format!("workers={number}: give a number from 1 to 1000000"))?;
            }
            Some(("mean", time)) => settings.mean = spec::duration(time)?,
            Some(("delay", time)) => settings.delay = spec::duration(time)?,
            _ => return Err(format!("`{pair}` cannot be set: use workers=, mean= or delay=")),
        }
    }
    workers.settings = settings;
    drop(workers);
    shared.arrived.notify_one();
    Ok(())
}
