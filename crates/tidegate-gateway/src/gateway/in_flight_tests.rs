//! What the limit is told of how work ended.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use socket2::SockRef;
use tidegate::{LimitAlgorithm, Limiter, Sample};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::gateway::GatewaySettings;
use crate::listen::{ListenSettings, Listener, Shutdown};
use crate::origin::{Origin, OriginSettings};

use Outcome::{Canceled, Ignore, Overload, Success};

/// Nothing that works takes as long.
const BOUND: Duration = Duration::from_secs(60);
/// Longer than any test, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(3600);

fn overloaded(status: u16) -> bool {
    matches!(status, 429 | 503 | 504)
}

#[test]
fn a_status_says_overload_or_nothing_or_that_the_work_was_done() {
    for code in 100..1000 {
        let expected = match code {
            _ if overloaded(code) => Overload,
            500 | 502 => Ignore,
            _ => Success,
        };
        assert_eq!(of_status(StatusCode::from_u16(code).unwrap()), expected, "{code}");
    }
}

#[test]
fn no_answer_is_overload_unless_the_client_or_the_gate_is_to_blame() {
    use OriginErrorKind::{
        BodyStalled, ClientBody, DialFailed, DialTimeout, HeadTimeout, OpenFiles, Protocol, Reset,
    };
    for kind in [DialFailed, DialTimeout, HeadTimeout, Reset, Protocol, BodyStalled] {
        assert_eq!(of_error(&OriginError::new(kind, "gone")), Overload, "{kind:?}");
    }
    for kind in [ClientBody, OpenFiles] {
        assert_eq!(of_error(&OriginError::new(kind, "gone")), Ignore, "{kind:?}");
    }
}

/// A limit that stands still, and passes on how each piece of work ended, and whether in time.
struct Ear(SyncSender<(Outcome, bool)>);

impl LimitAlgorithm for Ear {
    fn limit(&self) -> u64 {
        8
    }

    fn on_sample(&mut self, sample: &Sample) -> u64 {
        let _ = self.0.send((sample.outcome, sample.in_time)); // nobody listens once the test is over
        8
    }
}

/// A gate with such a limit.
struct Gate {
    address: SocketAddr,
    heard: Receiver<(Outcome, bool)>,
    shutdown: Shutdown,
}

impl Gate {
    fn before(origin: SocketAddr) -> Self {
        Self::with(origin, PATIENCE, PATIENCE)
    }

    /// One whose clients may not pause for longer than `stall`, and give up after `patience` unless they say so.
    fn with(origin: SocketAddr, stall: Duration, patience: Duration) -> Self {
        Self::facing(origin, OriginSettings::default(), stall, patience)
    }

    fn facing(origin: SocketAddr, speaks: OriginSettings, stall: Duration, patience: Duration) -> Self {
        let (tell, heard) = sync_channel(100);
        let limiter = Limiter::builder().algorithm(Ear(tell)).build().unwrap();
        let origin = format!("http://{origin}").parse().unwrap();
        let origin = Origin::new(origin, speaks).unwrap();
        let settings = GatewaySettings { client_timeout: patience, ..GatewaySettings::default() };
        let shutdown = Shutdown::new();
        let gateway = Gateway::around(limiter, settings, origin, None, shutdown.clone()).unwrap();
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut listens = ListenSettings::default();
        listens.pace.stall = stall;
        let listener = Listener::bind(here, listens).unwrap();
        let address = listener.local_addr();
        tokio::spawn(listener.run(gateway, shutdown.clone()));
        Self { address, heard, shutdown }
    }

    async fn sends(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// The status of the answer, which is read to its end.
    async fn asks(&self, request: &str) -> u16 {
        let mut client = self.sends(request).await;
        let mut answer = Vec::new();
        // One that is broken off may end with a reset.
        let _ = timeout(BOUND, client.read_to_end(&mut answer)).await.expect("the answer ends");
        let status = answer.get(9..12).map(|status| std::str::from_utf8(status).unwrap().parse());
        status.expect("an answer").unwrap()
    }

    /// What the limit was told, which is one thing.
    async fn told(&self) -> (Outcome, bool) {
        let told = async {
            loop {
                match self.heard.try_recv() {
                    Ok(told) => return told,
                    Err(_) => sleep(Duration::from_millis(3)).await,
                }
            }
        };
        let told = timeout(BOUND, told).await.expect("the limit is told");
        assert!(self.heard.try_recv().is_err(), "work ends once");
        told
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shutdown.abort();
    }
}

fn get(path: &str, field: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n")
}

/// An origin that does what the path says, and the requests that it has seen.
struct Obedient {
    address: SocketAddr,
    seen: Arc<AtomicUsize>,
}

impl Obedient {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let sees = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(obeys(stream, Arc::clone(&sees)));
            }
        });
        Self { address, seen }
    }

    async fn has_seen(&self, count: usize) {
        let seen = async {
            while self.seen.load(SeqCst) < count {
                sleep(Duration::from_millis(3)).await;
            }
        };
        timeout(BOUND, seen).await.expect("the origin sees it");
    }
}

async fn obeys(mut stream: TcpStream, seen: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    seen.fetch_add(1, SeqCst);
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (what, with) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let answer = |length: usize| {
        let status = if with.is_empty() { "200" } else { with };
        format!("HTTP/1.1 {status} As asked\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
    };
    match what {
        // Later than in a moment.
        "late" => sleep(Duration::from_millis(20)).await,
        // Until nobody waits any more.
        "left" => drop(stream.read_to_end(&mut Vec::new()).await),
        _ => {}
    }
    let words = match what {
        "cut" | "stay" => answer(9) + "half",
        _ if with == "none" => return,
        _ if with == "reset" => {
            // With a linger of zero the connection is reset.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            return;
        }
        _ => answer(0),
    };
    let _ = stream.write_all(words.as_bytes()).await;
    if what == "stay" {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

#[tokio::test]
async fn the_limit_hears_what_an_answer_says() {
    let origin = Obedient::start().await;
    let gate = Gate::before(origin.address);
    for status in [200, 204, 301, 304, 400, 404, 429, 500, 501, 502, 503, 504, 505] {
        assert_eq!(gate.asks(&get(&format!("/status/{status}"), "")).await, status);
        let expected = match status {
            _ if overloaded(status) => Overload,
            500 | 502 => Ignore,
            _ => Success,
        };
        assert_eq!(gate.told().await, (expected, true), "{status}");
    }
    // No answer, and half of one.
    for how in ["none", "reset"] {
        assert_eq!(gate.asks(&get(&format!("/status/{how}"), "")).await, 502);
        assert_eq!(gate.told().await, (Overload, true), "{how}");
    }
    assert_eq!(gate.asks(&get("/cut/200", "")).await, 200);
    assert_eq!(gate.told().await, (Overload, true));
}

#[tokio::test]
async fn an_upload_that_its_client_does_not_end_says_nothing_of_the_origin() {
    let origin = Obedient::start().await;
    let gate = Gate::with(origin.address, Duration::from_millis(100), PATIENCE);
    let upload = get("/left/200", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n";
    assert_eq!(gate.asks(&upload).await, 408);
    assert_eq!(origin.seen.load(SeqCst), 1, "it had come there");
    assert_eq!(gate.told().await, (Ignore, true));
}

#[tokio::test]
async fn a_dial_that_fails_is_overload() {
    // Its own while this stands, and nobody listens.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let gate = Gate::before(nobody.local_addr().unwrap());
    assert_eq!(gate.asks(&get("/", "")).await, 502);
    assert_eq!(gate.told().await, (Overload, true));
}

#[tokio::test]
async fn what_comes_after_its_client_has_given_up_is_late() {
    let origin = Obedient::start().await;
    let gate = Gate::before(origin.address);
    for (status, outcome) in [(200, Success), (500, Ignore), (503, Overload)] {
        let path = format!("/late/{status}");
        assert_eq!(gate.asks(&get(&path, "X-Request-Timeout: 1ms\r\n")).await, status);
        assert_eq!(gate.told().await, (outcome, false), "{status}");
        // The same for one that has the time.
        assert_eq!(gate.asks(&get(&path, "X-Request-Timeout: 3600\r\n")).await, status);
        assert_eq!(gate.told().await, (outcome, true), "{status}");
    }
    // Who says nothing has as much patience as is known of clients.
    let gate = Gate::with(origin.address, PATIENCE, Duration::from_millis(1));
    assert_eq!(gate.asks(&get("/late/200", "")).await, 200);
    assert_eq!(gate.told().await, (Success, false));
}

#[tokio::test]
async fn what_comes_after_its_client_has_gone_is_late() {
    let origin = Obedient::start().await;
    let gate = Gate::before(origin.address);
    let asked = [("200", Success), ("404", Success), ("500", Ignore), ("503", Overload), ("none", Ignore)];
    for (nth, (with, outcome)) in asked.into_iter().enumerate() {
        let client = gate.sends(&get(&format!("/left/{with}"), "")).await;
        origin.has_seen(nth + 1).await;
        drop(client);
        assert_eq!(gate.told().await, (outcome, false), "{with}");
    }
    // In the middle of its answer: how long that would have taken is not known.
    let mut client = gate.sends(&get("/stay/200", "")).await;
    let mut begin = [0; 12];
    timeout(BOUND, client.read_exact(&mut begin)).await.expect("its answer begins").unwrap();
    drop(client);
    assert_eq!(gate.told().await, (Canceled, false));
}

/// An HTTP/2 origin that reads what comes and answers nothing; how many of its requests have come.
async fn silent2() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let sees = Arc::clone(&seen);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok(request)) = connection.accept().await {
            held.push(request);
            sees.fetch_add(1, SeqCst);
        }
    });
    (address, seen)
}

#[tokio::test]
async fn whose_silence_it_was_is_known_once_the_call_is_sent() {
    let (address, seen) = silent2().await;
    let origin = Obedient { address, seen };
    // Less than after which a call that still sends is a stream.
    let speaks =
        OriginSettings { http2: true, head_timeout: Duration::from_millis(300), ..OriginSettings::default() };
    let gate = Gate::facing(address, speaks, PATIENCE, PATIENCE);
    let (mut client, connection) =
        h2::client::handshake(TcpStream::connect(gate.address).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    let call = http::Request::post("http://a/call").header("content-type", "application/grpc");
    let call = call.body(()).unwrap();
    // While it still sends, nobody knows for whom the other waited.
    let (_answer, mut stream) = client.send_request(call.clone(), false).unwrap();
    stream.send_data("message".into(), false).unwrap();
    assert_eq!(gate.told().await.0, Ignore);
    // Once it has sent all, it waits for the origin. On a busy machine the end may be sent too late to be in time.
    for count in 2..20 {
        let (_answer, mut stream) = client.send_request(call.clone(), false).unwrap();
        origin.has_seen(count).await;
        let _ = stream.send_data("message".into(), true);
        if gate.told().await.0 == Overload {
            return;
        }
    }
    panic!("an origin that is silent is never overloaded");
}
