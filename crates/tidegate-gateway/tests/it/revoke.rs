//! What was given to those that are idle comes back when others need it, within a few round trips.
//!
//! No clock counts them: a round trip is a PING of the client and the gate's answer to it. What the gate says in one is
//! acknowledged in the next, as over a long path.

use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, flag, kind, setting};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::stand::{Stand, bounded, eventually};

const WORDS: &str = "memory = '384MiB'\nlimit = 2000\nmax-wait = '60s'\nclient-timeout = '10m'\n\
                     idle-timeout = '10m'\nhead-timeout = '10m'";
const CONNECTIONS: usize = 100;
/// What an HTTP/2 connection keeps that does nothing while memory is short.
const KEPT: f64 = 48.0 * 1024.0;
/// What each is to have beyond its floor before it is idle.
const GROWN: f64 = 128.0 * 1024.0;
/// Bytes of one upload.
const UPLOAD: i64 = 256 * 1024;

/// A client that uploads, and then is idle.
struct Client {
    wire: Wire,
    /// What it may still send, and what each new stream may.
    credit: i64,
    first: i64,
    next: u32,
    /// Acknowledgements of what it has read.
    owed: Vec<Frame>,
    /// Times that the gate took the streams' windows away.
    quenched: usize,
    pings: u64,
}

impl Client {
    async fn connect(stand: &Stand) -> Self {
        let mut wire = Wire::connect(stand.address).await.unwrap();
        let mut first = PREFACE.to_vec();
        first.extend([Frame::settings(&[])]);
        wire.send(&first).await.unwrap();
        Self { wire, credit: 65_535, first: 65_535, next: 1, owed: Vec::new(), quenched: 0, pings: 0 }
    }

    /// Uploads as fast as it may, and waits for the answer.
    async fn upload(&mut self) {
        let stream = self.next;
        self.next += 2;
        let head = Block::request("POST", "/hello").bytes();
        self.wire.frames([Frame::headers(stream, flag::END_HEADERS, head)]).await.unwrap();
        let (mut window, mut left) = (self.first, UPLOAD);
        loop {
            let mut frames = std::mem::take(&mut self.owed);
            while left > 0 && self.credit.min(window) > 0 {
                let some = self.credit.min(window).min(left).min(16_384);
                (self.credit, window, left) = (self.credit - some, window - some, left - some);
                let end = if left == 0 { flag::END_STREAM } else { 0 };
                frames.push(Frame::data(stream, end, vec![0; some as usize]));
            }
            self.wire.frames(frames).await.unwrap();
            let before = self.first;
            let frame = self.next_frame().await;
            window += self.first - before;
            match frame.kind {
                kind::WINDOW_UPDATE if frame.stream == stream => {
                    window += i64::from(frame.number(0).unwrap())
                }
                kind::HEADERS => return,
                kind::RST_STREAM | kind::GOAWAY => panic!("{frame:?}"),
                _ => {}
            }
        }
    }

    async fn next_frame(&mut self) -> Frame {
        let frame = self.wire.next().await.unwrap().expect("the gate closed");
        match frame.kind {
            kind::WINDOW_UPDATE if frame.stream == 0 => self.credit += i64::from(frame.number(0).unwrap()),
            kind::SETTINGS if !frame.has(flag::ACK) => {
                self.owed.push(Frame::settings_ack());
                for entry in frame.payload.chunks_exact(6) {
                    if entry[..2] == setting::INITIAL_WINDOW_SIZE.to_be_bytes() {
                        self.first = i64::from(u32::from_be_bytes(entry[2..].try_into().unwrap()));
                        self.quenched += usize::from(self.first == 0);
                    }
                }
            }
            // The gate's own: a busy machine takes so long that it asks.
            kind::PING if !frame.has(flag::ACK) => {
                self.owed.push(Frame::new(kind::PING, flag::ACK, 0, frame.payload.clone()));
            }
            _ => {}
        }
        frame
    }

    /// One round trip: says what it owes, and reads until the gate has answered that.
    async fn round_trip(&mut self) {
        self.pings += 1;
        let mut frames = std::mem::take(&mut self.owed);
        frames.push(Frame::ping(self.pings.to_be_bytes()));
        self.wire.frames(frames).await.unwrap();
        loop {
            let frame = self.next_frame().await;
            if frame.kind == kind::PING && frame.payload == self.pings.to_be_bytes()[..] {
                return;
            }
        }
    }

    async fn spoken_to(&self) {
        self.wire.get_ref().readable().await.unwrap();
    }
}

/// What all clients do at once.
#[derive(Clone, Copy)]
enum What {
    Upload,
    RoundTrip,
}

async fn all(clients: Vec<Client>, what: What) -> Vec<Client> {
    let mut doing = JoinSet::new();
    for mut client in clients {
        doing.spawn(async move {
            match what {
                What::Upload => client.upload().await,
                What::RoundTrip => client.round_trip().await,
            }
            client
        });
    }
    bounded("all of them do it", doing.join_all()).await
}

fn charged(stand: &Stand) -> f64 {
    stand.metric("tidegate_memory_charged_bytes")
}

fn connections(stand: &Stand) -> f64 {
    stand.metric("tidegate_memory_holders")
}

/// C 10: 100 connections grow and are idle; others come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grown_pool_is_back_after_three_round_trips() {
    let stand = Stand::new(WORDS).await;
    let rest = charged(&stand);
    // What a connection takes that says nothing.
    let silent = TcpStream::connect(stand.address).await.unwrap();
    eventually("it has its floor", || connections(&stand) == 1.0).await;
    let floor = charged(&stand) - rest;
    drop(silent);
    eventually("it has left", || connections(&stand) == 0.0).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(&stand).await);
    }
    let least = rest + CONNECTIONS as f64 * floor;
    let enough = |charged: f64| charged >= least + CONNECTIONS as f64 * GROWN;
    for _ in 0..20 {
        clients = all(clients, What::Upload).await;
        if enough(charged(&stand)) {
            break;
        }
    }
    // Nothing is on its way any more.
    for _ in 0..3 {
        clients = all(clients, What::RoundTrip).await;
    }
    eventually("all uploads have left", || stand.in_flight() == 0).await;
    assert!(enough(charged(&stand)), "{} bytes more than floors", charged(&stand) - least);
    let spare = charged(&stand) - rest - CONNECTIONS as f64 * KEPT;
    assert!(clients.iter().all(|client| client.quenched == 0));
    // As many as want to come. Those that find no place make the gate ask for what is not needed.
    let mut crowd = JoinSet::new();
    for _ in 0..1000 {
        let address = stand.address;
        crowd.spawn(async move { TcpStream::connect(address).await });
    }
    bounded("the gate asks all of them", async {
        for client in &clients {
            client.spoken_to().await;
        }
    })
    .await;
    // From here on it is the clients who make time pass.
    let (mut round_trips, mut recovered) = (0, 0.0);
    while recovered < 0.9 {
        assert!(round_trips < 3, "{recovered} of {spare} bytes are back after {round_trips} round trips");
        clients = all(clients, What::RoundTrip).await;
        round_trips += 1;
        // A newcomer takes its place in the moment that it comes in.
        let (held, others) = (charged(&stand), connections(&stand) - CONNECTIONS as f64);
        recovered = 1.0 - (held - rest - others * floor - CONNECTIONS as f64 * KEPT) / spare;
    }
    assert!(clients.iter().all(|client| client.quenched == 1), "each was told once");
    // And others come in its stead: as many as if nobody had been there before. Connections may have 85 % of what is charged.
    let fixed = stand.metric("tidegate_memory_fixed_bytes");
    let fits = (stand.metric("tidegate_memory_limit_bytes") - fixed) * 0.85 / floor;
    eventually("new connections are admitted", || connections(&stand) >= 0.95 * fits).await;
    println!("{recovered:.2} of {spare} bytes after {round_trips} round trips");
    // Who was idle is served as before.
    crowd.abort_all();
    drop(crowd);
    all(clients, What::Upload).await;
}
