//! What the budget costs an upload: the gateway with its credit from the memory, beside a proxy with hyper's own windows
//! (1 MiB each, without a bound over all connections), before the same origin, on the same threads, in turns.
//!
//! `cargo bench -p tidegate-gateway --bench uploads [-- ROUNDS [MEMORY [ROUND-TRIP-MS [gate | bare]]]]`: 64 MB over each of
//! eight HTTP/2 connections; prints MB/s of both, and the processor's time for each MB, clients and origin included, which
//! holds on a busy machine as well; and their ratios. With `gate` or `bare` only that one runs, to be looked at with perf,
//! strace and valgrind. Then 64 MB over one connection, alone and beside an upload that its
//! origin does not read, in turns. With a round trip, what clients and proxies say to each other takes half of it each
//! way, in a relay that has room for all that is under way: then the windows are what counts, as on a long line.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a program of its own: it may stop where it stands

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_gateway::Running;
use tidegate_gateway::config::{Config, Effective};
use tidegate_gateway::listen::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SIZE: usize = 64_000_000;
const CONNECTIONS: usize = 8;
const PIECE: usize = 16 * 1024;

async fn sink(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    if request.uri().path() == "/stalled" {
        std::future::pending::<()>().await;
    }
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    Ok(Response::new(Empty::new()))
}

/// An origin that reads and forgets.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let serving = hyper::server::conn::http1::Builder::new();
            tokio::spawn(serving.serve_connection(TokioIo::new(tcp), service_fn(sink)));
        }
    });
    address
}

async fn relay(request: Request<Incoming>, origin: SocketAddr) -> Result<Response<Incoming>, hyper::Error> {
    let tcp = TcpStream::connect(origin).await.expect("the origin");
    tcp.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection);
    let (head, body) = request.into_parts();
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri.path().parse().unwrap();
    request.headers_mut().insert("host", "a.example".parse().unwrap());
    sender.send_request(request).await
}

/// A proxy with hyper's own windows.
async fn bare(origin: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tcp.set_nodelay(true).unwrap();
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let service = service_fn(move |request| relay(request, origin));
            tokio::spawn(serving.serve_connection(TokioIo::new(tcp), service));
        }
    });
    address
}

/// A long line to `address`: what is written on one side can be read `each_way` later on the other.
async fn long_line(address: SocketAddr, each_way: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let proxy = TcpStream::connect(address).await.unwrap();
            client.set_nodelay(true).unwrap();
            proxy.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_proxy, to_proxy) = proxy.into_split();
            tokio::spawn(later(from_client, to_proxy, each_way));
            tokio::spawn(later(from_proxy, to_client, each_way));
        }
    });
    near
}

async fn later(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    // Room for 256 MB, many times what any window here lets under way.
    let (enter, mut leave) = tokio::sync::mpsc::channel::<(Instant, Bytes)>(4096);
    tokio::spawn(async move {
        loop {
            let mut piece = BytesMut::with_capacity(64 * 1024);
            match from.read_buf(&mut piece).await {
                Ok(read) if read > 0 => {}
                _ => break,
            }
            if enter.send((Instant::now() + delay, piece.freeze())).await.is_err() {
                break;
            }
        }
    });
    while let Some((due, piece)) = leave.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&piece).await.is_err() {
            break;
        }
    }
}

async fn upload(address: SocketAddr) {
    send(&connect(address).await, "/sink").await;
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(sender: &SendRequest<Bytes>, path: &str) {
    let mut sender = sender.clone().ready().await.unwrap();
    let request = Request::post(format!("http://a.example{path}")).body(()).unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let mut left = SIZE;
    while left > 0 {
        stream.reserve_capacity(left.min(PIECE));
        // If there is none, the answer says why.
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
        let room = room.unwrap();
        let some = room.min(left).min(PIECE);
        left -= some;
        stream.send_data(piece.slice(..some), left == 0).unwrap();
    }
    assert_eq!(answer.await.unwrap().status(), 200);
}

/// MB/s of all connections together.
async fn measure(address: SocketAddr) -> f64 {
    let began = Instant::now();
    let mut uploads = JoinSet::new();
    (0..CONNECTIONS).for_each(|_| {
        uploads.spawn(upload(address));
    });
    while let Some(done) = uploads.join_next().await {
        done.unwrap();
    }
    (SIZE * CONNECTIONS) as f64 / 1e6 / began.elapsed().as_secs_f64()
}

/// MB/s of one upload, with another on its connection that is not read if so wanted.
async fn measure_one(address: SocketAddr, beside_stalled: bool) -> f64 {
    let sender = connect(address).await;
    let stalled = beside_stalled.then(|| {
        let sender = sender.clone();
        tokio::spawn(async move { send(&sender, "/stalled").await })
    });
    if beside_stalled {
        // Until it has used up what it has, also over a long line.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let began = Instant::now();
    send(&sender, "/sink").await;
    let speed = SIZE as f64 / 1e6 / began.elapsed().as_secs_f64();
    if let Some(stalled) = stalled {
        stalled.abort();
    }
    speed
}

/// Milliseconds of the processors that this process has had, in steps of 10 (Linux; elsewhere nothing is told).
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    // utime and stime, in ticks of 10 ms.
    after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}

/// MB/s of all connections together, and the processors' milliseconds for each GB.
async fn measure_both(address: SocketAddr) -> (f64, f64) {
    let before = processor_ms();
    let speed = measure(address).await;
    (speed, (processor_ms() - before) / ((SIZE * CONNECTIONS) as f64 / 1e9))
}

fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    format!("{:.2} / {:.2} / {:.2}", at(0), at(values.len() / 2), at(values.len() - 1))
}

async fn run(rounds: usize, memory: &str, round_trip: Duration, only: Option<&str>) {
    let origin = origin().await;
    let mut bare = bare(origin).await;
    let words = format!(
        "origin = 'http://{origin}'\nlisten = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\nlimit = 100\nmemory = '{memory}'"
    );
    let effective = Effective::new(Config::parse(&words).unwrap()).unwrap();
    let running = Running::start(effective, None, Shutdown::new()).unwrap();
    let mut gate = running.address();
    tokio::spawn(running.serve());
    if !round_trip.is_zero() {
        gate = long_line(gate, round_trip / 2).await;
        bare = long_line(bare, round_trip / 2).await;
    }
    if let Some(only) = only {
        let address = if only == "gate" { gate } else { bare };
        for _ in 0..rounds {
            let (speed, cost) = measure_both(address).await;
            println!("{speed:.0} MB/s, {cost:.0} ms/GB with {only} only");
        }
        return;
    }
    let (mut ours, mut theirs, mut ratios, mut costs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // In turns, and each first as often as second.
        let ((one, one_cost), (other, other_cost)) = if round % 2 == 0 {
            let one = measure_both(gate).await;
            (one, measure_both(bare).await)
        } else {
            let other = measure_both(bare).await;
            (measure_both(gate).await, other)
        };
        println!(
            "{one:.0} MB/s and {one_cost:.0} ms/GB with a budget of {memory}, {other:.0} and {other_cost:.0} with hyper's windows: \
             {:.2} and {:.2}",
            one / other,
            one_cost / other_cost
        );
        ours.push(one);
        theirs.push(other);
        ratios.push(one / other);
        costs.push(one_cost / other_cost);
    }
    println!("MB/s, least / median / most: {} and {}", spread(ours), spread(theirs));
    println!("ratio, least / median / most: {}", spread(ratios));
    println!("ratio of the processors' time, least / median / most: {}", spread(costs));
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let alone = measure_one(gate, false).await;
        ratios.push(measure_one(gate, true).await / alone);
    }
    println!("beside an upload that is not read / alone, least / median / most: {}", spread(ratios));
}

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let rounds = words.next().map_or(5, |word| word.parse().expect("a number of rounds"));
    let memory = words.next().unwrap_or_else(|| "256MiB".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let round_trip = words.next().map_or(0, |word| word.parse().expect("milliseconds"));
    let only = words.next();
    runtime.block_on(run(rounds, &memory, Duration::from_millis(round_trip), only.as_deref()));
}
