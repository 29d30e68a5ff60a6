//! An origin that records what reaches it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, watch};

type Reply = Response<BoxBody<Bytes, hyper::Error>>;

/// A request as it arrived. The body's length is known when it was read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<usize>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) struct Origin {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    book: Arc<Book>,
    standing: watch::Sender<bool>,
}

struct Book {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    now: AtomicUsize,
    peak: AtomicUsize,
    released: Semaphore,
}

impl Default for Book {
    fn default() -> Self {
        let zero = AtomicUsize::default;
        Self {
            seen: Mutex::default(),
            connections: zero(),
            now: zero(),
            peak: zero(),
            released: Semaphore::new(0),
        }
    }
}

impl Origin {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (book, standing) = (Arc::new(Book::default()), watch::Sender::new(true));
        let (for_accepts, stand) = (Arc::clone(&book), standing.clone());
        tokio::spawn(async move {
            let mut fallen = stand.subscribe();
            while let Some(Ok((tcp, _))) = unless_fallen(&mut fallen, listener.accept()).await {
                tcp.set_nodelay(true).unwrap();
                tokio::spawn(connection(tcp, Arc::clone(&for_accepts), stand.subscribe()));
            }
        });
        Self { url: format!("http://{address}"), address, book, standing }
    }

    /// The same at the path of a unix socket.
    pub(crate) fn at(path: &std::path::Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let (book, standing) = (Arc::new(Book::default()), watch::Sender::new(true));
        let (for_accepts, stand) = (Arc::clone(&book), standing.clone());
        tokio::spawn(async move {
            let mut fallen = stand.subscribe();
            while let Some(Ok((unix, _))) = unless_fallen(&mut fallen, listener.accept()).await {
                tokio::spawn(connection(unix, Arc::clone(&for_accepts), stand.subscribe()));
            }
        });
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { url: format!("unix:{}", path.display()), address, book, standing }
    }

    /// Every connection breaks, and nobody listens any more.
    pub(crate) fn fall(&self) {
        self.standing.send_replace(false);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.book.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.book.seen.lock().unwrap().len()
    }

    pub(crate) fn last(&self) -> Seen {
        self.book.seen.lock().unwrap().last().expect("nothing was seen").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.book.connections.load(SeqCst)
    }

    /// Requests that are here now.
    pub(crate) fn now(&self) -> usize {
        self.book.now.load(SeqCst)
    }

    pub(crate) fn peak(&self) -> usize {
        self.book.peak.load(SeqCst)
    }

    /// Lets so many requests for `/hold` have their answers.
    pub(crate) fn release(&self, count: usize) {
        self.book.released.add_permits(count);
    }
}

async fn unless_fallen<T>(fallen: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        _ = fallen.wait_for(|standing| !*standing) => None,
        done = work => Some(done),
    }
}

async fn connection<S>(stream: S, book: Arc<Book>, mut fallen: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    book.connections.fetch_add(1, SeqCst);
    let service = service_fn(move |request| {
        let book = Arc::clone(&book);
        async move { Ok::<_, Infallible>(serve(request, book).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let _ = unless_fallen(&mut fallen, serving).await;
}

struct Here(Arc<Book>);

impl Here {
    fn new(book: &Arc<Book>) -> Self {
        let now = book.now.fetch_add(1, SeqCst) + 1;
        book.peak.fetch_max(now, SeqCst);
        Self(Arc::clone(book))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

async fn serve(mut request: Request<Incoming>, book: Arc<Book>) -> Reply {
    let _here = Here::new(&book);
    let index = {
        let mut seen = book.seen.lock().unwrap();
        seen.push(Seen {
            method: request.method().clone(),
            target: request.uri().to_string(),
            headers: request.headers().clone(),
            body: None,
        });
        seen.len() - 1
    };
    let path = request.uri().path().to_owned();
    let number = |from: &str| path.strip_prefix(from).and_then(|number| number.parse::<usize>().ok());
    if path == "/upgrade" {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(capitals(upgrade));
        let mut reply = Response::new(none());
        *reply.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        reply.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
        reply.headers_mut().insert("upgrade", HeaderValue::from_static("shout"));
        return reply;
    }
    if path == "/echo" {
        let named = request.headers().get("trailer").cloned();
        let mut reply = Response::new(request.into_body().boxed());
        if let Some(named) = named {
            reply.headers_mut().insert("trailer", named);
        }
        return reply;
    }
    if path == "/unread" {
        return Response::new(full("unread"));
    }
    let mut length = 0;
    while let Some(Ok(frame)) = request.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    book.seen.lock().unwrap()[index].body = Some(length);
    if let Some(status) = number("/status/") {
        let mut reply = Response::new(none());
        *reply.status_mut() = u16::try_from(status).unwrap().try_into().unwrap();
        return reply;
    }
    if let Some(bytes) = number("/big/") {
        return Response::new(stream(bytes, false));
    }
    match path.as_str() {
        "/hold" => {
            book.released.acquire().await.unwrap().forget();
            Response::new(full("held"))
        }
        "/events" => {
            let mut reply = Response::new(events());
            reply.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
            reply
        }
        "/break" => {
            let mut reply = Response::new(stream(100_000, true));
            reply.headers_mut().insert("content-length", HeaderValue::from_static("200000"));
            reply
        }
        "/modified" => {
            let mut reply = Response::new(none());
            *reply.status_mut() = http::StatusCode::NOT_MODIFIED;
            reply.headers_mut().insert("etag", HeaderValue::from_static("\"one\""));
            reply
        }
        "/fields" => {
            let mut reply = Response::new(full("fields"));
            for (name, value) in [
                ("keep-alive", "timeout=5"),
                ("connection", "x-private"),
                ("x-private", "1"),
                ("x-public", "1"),
            ] {
                reply.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            reply
        }
        _ => Response::new(full("hello")),
    }
}

async fn capitals(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut stream = TokioIo::new(upgraded);
    let mut room = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut room).await {
        if stream.write_all(&room[..read].to_ascii_uppercase()).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

fn none() -> BoxBody<Bytes, hyper::Error> {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn full(text: &'static str) -> BoxBody<Bytes, hyper::Error> {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed()
}

/// A body of so many bytes; `broken` ends it without its end.
fn stream(bytes: usize, broken: bool) -> BoxBody<Bytes, hyper::Error> {
    let (sender, body) = Piped::pair();
    tokio::spawn(async move {
        let mut left = bytes;
        while left > 0 {
            let some = left.min(16 * 1024);
            if sender.send(Bytes::from(vec![b'b'; some])).await.is_err() {
                return;
            }
            left -= some;
        }
        if broken {
            // Fewer bytes than were announced: hyper breaks the connection.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    body
}

fn events() -> BoxBody<Bytes, hyper::Error> {
    let (sender, body) = Piped::pair();
    tokio::spawn(async move {
        while sender.send(Bytes::from_static(b"data: tick\n\n")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    body
}

/// A body whose bytes somebody else makes.
struct Piped(mpsc::Receiver<Bytes>);

impl Piped {
    fn pair() -> (mpsc::Sender<Bytes>, BoxBody<Bytes, hyper::Error>) {
        let (sender, receiver) = mpsc::channel(4);
        (sender, Self(receiver).map_err(|never: Infallible| match never {}).boxed())
    }
}

impl Body for Piped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}
