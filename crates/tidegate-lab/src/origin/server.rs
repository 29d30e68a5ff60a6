//! HTTP around the workers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::bulk::{Bulk, Dam, swallow};
use super::floor::Floor;
use super::workers::{OriginSettings, OriginStats};
use crate::GONE_AT;
use crate::io::Io;
use crate::spec;

/// Connections at once: above what a lab run opens, below the usual limit of open files (with `ulimit -n`
/// raised).
const CONNECTIONS: usize = 20_000;

/// The fragile origin, bound to its address.
///
/// Every path is work for a worker, except
///
/// - `GET /.lab/stats`: its figures (JSON);
/// - `POST /.lab/set?workers=5&mean=20ms&dist=fixed&delay=1ms`: changes it while it runs;
/// - `GET /.lab/bytes/N` and `GET /.lab/endless`: a body, as fast as it is taken;
/// - `POST /.lab/echo`: sends a body back, as it comes;
/// - `POST /.lab/sink`: reads a body, and says its length;
/// - `POST /.lab/unread`: the same, but nothing is read before `POST /.lab/release`.
#[derive(Debug)]
pub struct Origin {
    listener: TcpListener,
    floor: Arc<Floor>,
}

type Reply = Response<Either<Either<Full<Bytes>, Bulk>, Incoming>>;

impl Origin {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub async fn bind(address: SocketAddr, settings: OriginSettings) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, floor: Arc::new(Floor::new(settings)) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped. At the bound of connections, new ones wait in the backlog.
    ///
    /// # Errors
    /// The system's, if the workers' thread cannot start.
    pub async fn serve(self) -> io::Result<()> {
        let Self { listener, floor } = self;
        let _open = Floor::open(&floor)?;
        accept(listener, floor).await;
        Ok(())
    }

    /// What it has done, for a program that runs it in its own process: asks without HTTP, also after
    /// [`serve`](Self::serve) has taken the origin.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.floor))
    }
}

/// Reads an origin's figures.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Floor>);

impl Watch {
    /// The figures now.
    #[must_use]
    pub fn stats(&self) -> OriginStats {
        self.0.stats()
    }
}

async fn accept(listener: TcpListener, floor: Arc<Floor>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let dam = Arc::new(Dam::new());
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: closing connections will give some back.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (floor, dam) = (Arc::clone(&floor), Arc::clone(&dam));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &floor, &dam));
            // A connection that breaks is a client that left; the workers count it.
            let _ = http1::Builder::new().serve_connection(Io(stream), service).await;
            drop(place);
        });
    }
}

async fn answer(request: Request<Incoming>, floor: &Floor, dam: &Dam) -> Result<Reply, Infallible> {
    let bytes = |path: &str| path.strip_prefix("/.lab/bytes/").and_then(|bytes| bytes.parse().ok());
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/.lab/stats") => {
            (StatusCode::OK, serde_json::to_vec(&floor.stats()).unwrap_or_default().into())
        }
        (&Method::POST, "/.lab/set") => match set(request.uri(), floor) {
            Ok(()) => (StatusCode::OK, Bytes::from_static(b"changed\n")),
            Err(wrong) => (StatusCode::BAD_REQUEST, (wrong + "\n").into()),
        },
        (&Method::GET, "/.lab/endless") => {
            return Ok(Response::new(Either::Left(Either::Right(Bulk::new(None)))));
        }
        (&Method::GET, path) if bytes(path).is_some() => {
            return Ok(Response::new(Either::Left(Either::Right(Bulk::new(bytes(path))))));
        }
        (&Method::POST, "/.lab/echo") => return Ok(Response::new(Either::Right(request.into_body()))),
        (&Method::POST, "/.lab/sink") => (StatusCode::OK, swallow(request.into_body()).await),
        (&Method::POST, "/.lab/unread") => {
            dam.released().await;
            (StatusCode::OK, swallow(request.into_body()).await)
        }
        (&Method::POST, "/.lab/release") => {
            dam.release();
            (StatusCode::OK, Bytes::from_static(b"released\n"))
        }
        _ => work(floor, gone_at(request.headers())).await,
    };
    let mut response = Response::new(Either::Left(Either::Left(Full::new(body))));
    *response.status_mut() = status;
    if floor.reports() {
        let OriginStats { delayed, waiting, working, .. } = floor.stats();
        // This one too.
        response.headers_mut().insert("x-inflight", (delayed + waiting + working + 1).into());
    }
    Ok(response)
}

/// When the lab's client gives up, if it is one.
fn gone_at(headers: &HeaderMap) -> Option<SystemTime> {
    let micros = headers.get(GONE_AT)?.to_str().ok()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

async fn work(floor: &Floor, gone_at: Option<SystemTime>) -> (StatusCode, Bytes) {
    let answer = floor.arrive(gone_at);
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

fn set(uri: &Uri, floor: &Floor) -> Result<(), String> {
    let mut settings = floor.settings();
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
            Some(("dist", distribution)) => settings.distribution = distribution.parse()?,
            Some(("delay", time)) => settings.delay = spec::duration(time)?,
            _ => return Err(format!("`{pair}` cannot be set: use workers=, mean=, dist= or delay=")),
        }
    }
    floor.set(settings);
    Ok(())
}
