//! Uploads that share a connection: some stall, and the others are to go on. What nobody reads comes on top of the window of
//! those that are read, and goes with it.
//!
//! Round trips are counted, and not time: that is what an upload costs over a long path, however busy a machine is.

use std::time::Duration;

use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, flag, kind};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use super::stand::{BOUND, BUDGET, Stand};

/// A round trip that is long beside how often the gate looks after windows.
const LONG: Duration = Duration::from_millis(100);
/// What is uploaded.
const SIZE: u64 = 16_000_000;
/// The largest window of a connection for what is read, where the gate has 64 MiB, and what it is charged for it.
const LARGEST: u64 = BUDGET / 16;
const COST: u64 = LARGEST * 3 / 2;
/// What stalls is not to be sent away, however long a busy machine takes for the rest.
const STALLED: &[&str] = &["--stall-timeout", "30m", "--client-timeout", "1h", "--origin-timeout", "30m"];

/// A client with some uploads on a connection, that hears what becomes of what it has sent before it sends more.
struct Client {
    wire: Wire,
    connection: i64,
    /// What a stream may be sent at its begin.
    window: i64,
    /// What each may be sent, if it was not reset.
    credit: Vec<Option<i64>>,
    pings: u64,
    answered: bool,
}

impl Client {
    async fn connect(stand: &Stand) -> Self {
        Self::from([127, 0, 0, 1], stand).await
    }

    async fn from(client: [u8; 4], stand: &Stand) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((client, 0).into()).unwrap();
        let tcp = socket.connect(stand.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut wire = Wire::over(tcp);
        wire.send(PREFACE).await.unwrap();
        wire.frames([Frame::settings(&[])]).await.unwrap();
        Self { wire, connection: 65_535, window: 65_535, credit: Vec::new(), pings: 0, answered: false }
    }

    /// Begins so many uploads.
    async fn begin(&mut self, path: &str, uploads: usize) {
        for _ in 0..uploads {
            let head = Block::request("POST", path);
            let stream = 2 * self.credit.len() as u32 + 1;
            self.wire.frames([Frame::headers(stream, flag::END_HEADERS, head.bytes())]).await.unwrap();
            self.credit.push(Some(self.window));
        }
    }

    /// Sends what may be sent, of the first upload so many bytes at most, and that after all others. True if it sent as many.
    async fn send(&mut self, most: u64, ends: bool) -> u64 {
        let (mut frames, mut sent) = (Vec::new(), 0);
        for at in (0..self.credit.len()).rev() {
            let most = if at == 0 { i64::try_from(most).unwrap_or(i64::MAX) } else { i64::MAX };
            let Some(credit) = &mut self.credit[at] else { continue };
            let mut some = self.connection.min(*credit).min(most).max(0);
            (*credit, self.connection) = (*credit - some, self.connection - some);
            if at == 0 {
                sent = some;
            }
            while some > 0 {
                let piece = some.min(16_384);
                some -= piece;
                let last = at == 0 && some == 0 && sent == most && ends;
                let flags = if last { flag::END_STREAM } else { 0 };
                frames.push(Frame::data(2 * at as u32 + 1, flags, vec![0; piece as usize]));
            }
        }
        self.wire.frames(frames).await.unwrap();
        sent as u64
    }

    /// Hears what becomes of what was sent of the first upload, as if all of that came at once. The gate gives back what was
    /// read once that is half of what is left, so two thirds at least.
    async fn hear_all(&mut self) {
        while self.credit[0].is_some_and(|credit| credit * 3 < self.window * 2 - 3) || self.connection == 0 {
            self.hear().await;
        }
        self.settle().await;
    }

    /// Hears all that the gate has to say by now: whatever it is about to do when it answers the first, it has done with the
    /// second.
    async fn settle(&mut self) {
        for _ in 0..2 {
            self.pings += 1;
            let ping = self.pings.to_be_bytes();
            self.wire.frames([Frame::ping(ping)]).await.unwrap();
            while self.hear().await.is_none_or(|pong| pong[..] != ping) {}
        }
    }

    /// The next frame; what is in it, if it is the answer to a ping.
    async fn hear(&mut self) -> Option<Vec<u8>> {
        let frame = self.wire.next().await.unwrap().expect("the gate closed");
        let number = i64::from(frame.number(0).unwrap_or(0));
        match (frame.kind, frame.stream) {
            (kind::WINDOW_UPDATE, 0) => self.connection += number,
            (kind::WINDOW_UPDATE, stream) => {
                self.credit[stream as usize / 2].iter_mut().for_each(|credit| *credit += number);
            }
            (kind::SETTINGS, _) if !frame.has(flag::ACK) => {
                for entry in frame.payload.chunks(6).filter(|entry| entry[..2] == [0, 4]) {
                    let new = i64::from(u32::from_be_bytes(entry[2..].try_into().unwrap()));
                    self.credit.iter_mut().flatten().for_each(|credit| *credit += new - self.window);
                    self.window = new;
                }
                self.wire.frames([Frame::settings_ack()]).await.unwrap();
            }
            (kind::PING, _) if frame.has(flag::ACK) => return Some(frame.payload.to_vec()),
            // The gate's own: a busy machine takes so long that it asks.
            (kind::PING, _) => {
                let answer = Frame::new(kind::PING, flag::ACK, 0, frame.payload.clone());
                self.wire.frames([answer]).await.unwrap();
            }
            (kind::HEADERS, 1) => self.answered = true,
            // There is no memory for one more.
            (kind::RST_STREAM, stream) if stream > 1 => self.credit[stream as usize / 2] = None,
            (kind::RST_STREAM | kind::GOAWAY, _) => panic!("{frame:?}"),
            _ => {}
        }
        None
    }

    /// Uploads so much more of the first, beside the others: in how many round trips.
    async fn upload(&mut self, size: u64, ends: bool, trip: Duration) -> u64 {
        let (mut sent, mut trips) = (0, 0);
        while sent < size {
            trips += 1;
            let round_trip = async {
                let some = self.send(size - sent, ends).await;
                if sent + some < size || !ends {
                    self.hear_all().await;
                }
                if !trip.is_zero() {
                    sleep(trip).await;
                    self.settle().await;
                }
                some
            };
            let some = timeout(BOUND, round_trip).await;
            sent += some.unwrap_or_else(|_| panic!("it stands still after {sent} of {size} bytes"));
        }
        let answer = async {
            while ends && !self.answered {
                self.hear().await;
            }
        };
        assert!(timeout(BOUND, answer).await.is_ok(), "it is not answered");
        trips
    }

    async fn reset(&mut self, at: usize) {
        self.credit[at] = None;
        self.wire.frames([Frame::reset(2 * at as u32 + 1, 8)]).await.unwrap();
    }
}

/// One upload on a connection of its own, and so many that stall beside it.
async fn round_trips(stand: &Stand, stalled: usize) -> u64 {
    let mut client = Client::connect(stand).await;
    client.begin("/.lab/sink", 1).await;
    client.begin("/.lab/unread", stalled).await;
    client.upload(SIZE, true, Duration::ZERO).await
}

/// C 8: of two uploads on a connection one stands still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_upload_does_not_stop_its_neighbour() {
    let stand = Stand::new(&[]).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        alone.push(round_trips(&stand, 0).await);
        beside.push(round_trips(&stand, 1).await);
    }
    let sum = |trips: &[u64]| trips.iter().sum::<u64>() as f64;
    println!("round trips: alone {alone:?}, beside a stalled one {beside:?}");
    assert!(sum(&beside) * 0.8 <= sum(&alone), "alone {alone:?}, beside a stalled one {beside:?}");
}

/// The same when its windows have grown, and four others take all that there is before it can be said that they may not. Over
/// a path that is long enough for the gate to see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_stall_all_at_once_do_not_stop_their_neighbour() {
    let stand = Stand::new(STALLED).await;
    let alone = round_trips(&stand, 0).await;
    let mut client = Client::connect(&stand).await;
    client.begin("/.lab/sink", 1).await;
    let before = client.upload(SIZE / 2, false, Duration::ZERO).await;
    client.begin("/.lab/unread", 4).await;
    let beside = before + client.upload(SIZE / 2, true, LONG).await;
    println!("round trips: alone {alone}, beside four {beside}");
    // It stood still until they were reset. Some round trips go by before what they hold is made good.
    assert!(2 * beside <= 3 * alone, "alone {alone}, beside four {beside}");
}

/// What four stalled uploads hold is charged, at most as much again as for what is read; and comes back when they are reset,
/// while their neighbour goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stalled_uploads_hold_is_charged_until_they_are_reset() {
    let stand = Stand::new(STALLED).await;
    let rest = stand.charged().await;
    let mut client = Client::connect(&stand).await;
    client.begin("/.lab/sink", 1).await;
    client.upload(SIZE, false, Duration::ZERO).await;
    let alone = stand.charged().await;
    assert!(alone - rest > COST, "its window has grown: {}", alone - rest);
    for _ in 0..2 {
        let first = client.credit.len();
        client.begin("/.lab/unread", 4).await;
        client.upload(SIZE, false, LONG).await;
        let beside = stand.charged().await;
        let more = beside - alone;
        assert!(more > COST / 2, "they hold {more} bytes");
        assert!(more <= COST + 4 * 512 * 1024, "they hold {more} bytes");
        for at in first..client.credit.len() {
            client.reset(at).await;
        }
        client.upload(2 * SIZE, false, Duration::ZERO).await;
        stand.is_even(alone).await;
    }
    drop(client);
    stand.is_left().await;
    stand.is_even(rest).await;
}

/// As many streams as it may have, none of them read, and one beside them that is and always wants more: its windows are not
/// inflated by that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_stalled_uploads_do_not_inflate_their_connections_window() {
    let stand = Stand::new(STALLED).await;
    let rest = stand.charged().await;
    let mut client = Client::connect(&stand).await;
    client.begin("/.lab/sink", 1).await;
    client.upload(SIZE, false, Duration::ZERO).await;
    let mut most = 0;
    for _ in 0..10 {
        client.begin("/.lab/unread", 10).await;
        client.upload(SIZE / 256, false, LONG).await;
        most = most.max(stand.charged().await);
    }
    // Twice its window, a frame for each stream beyond it, and what requests take besides.
    let end = 2 * COST + (100 * 16 + 64) * 1024 * 3 / 2;
    let requests = 101 * 128 * 1024 + 2 * 1024 * 1024;
    println!(
        "{} KiB at most, {} streams may send",
        (most - rest) / 1024,
        client.credit.iter().flatten().count()
    );
    assert!(most - rest <= end + requests, "{} of {end} and {requests} bytes", most - rest);
    // Others are served meanwhile.
    let answer = stand.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(client);
    stand.is_left().await;
    stand.is_even(rest).await;
}

/// One party inflates its connections as far as it can with what nobody reads. Another comes after it, and goes on: what can
/// be done without never takes more than its part of the memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_that_inflates_its_connections_leaves_another_enough() {
    let stand = Stand::new(STALLED).await;
    let rest = stand.charged().await;
    let (limit, fixed) = (
        stand.metric("tidegate_memory_limit_bytes").await,
        stand.metric("tidegate_memory_fixed_bytes").await,
    );
    // Windows may take seven tenths of what is charged, beside what connections take from their begin, and the least that helps.
    let most = fixed + 0.7 * (limit - fixed) + 12.0 * 300.0 * 1024.0;
    let (mut greedy, mut peak) = (Vec::new(), 0.0_f64);
    for _ in 0..4 {
        let mut client = Client::from([127, 0, 0, 2], &stand).await;
        client.begin("/.lab/sink", 1).await;
        client.upload(SIZE / 4, false, Duration::ZERO).await;
        client.begin("/.lab/unread", 4).await;
        client.upload(SIZE / 64, false, LONG).await;
        greedy.push(client);
        peak = peak.max(stand.charged().await as f64);
    }
    println!("{peak} of {most} bytes");
    assert!(peak - rest as f64 > 2.0 * COST as f64, "they are inflated: {peak} bytes");
    assert!(peak <= most, "{peak} of {most} bytes");
    let trips = round_trips(&stand, 0).await;
    println!("another client takes {trips} round trips");
    // What the others hold cannot be taken away. A floor is there: a frame in each round trip, and some of them late.
    assert!(trips <= 2 * SIZE / 16_384, "{trips} round trips");
    drop(greedy);
    stand.is_left().await;
    stand.is_even(rest).await;
}
