//! Uploads that nobody reads, or that come in crumbs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tidegate_lab::attack::Attack;
use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, flag, kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout, timeout_at};

use super::stand::{MOST, Stand, eventually, mib};

const SOON: Duration = Duration::from_secs(3);
/// Uploads of ten polite clients, after which they are compared.
const ENOUGH: u64 = 200;
const DISPLACED: &str = "tidegate_memory_displaced_total";

fn post(stream: u32, path: &str) -> Frame {
    Frame::headers(stream, flag::END_HEADERS, Block::request("POST", path).bytes())
}

/// C 4: uploads that the origin takes no byte of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_uploads_fit_and_finish_when_they_may() {
    // Longer than the attack: none is to be sent away before.
    let stand = Stand::new(&["--max-wait", "10m", "--client-timeout", "1h", "--stall-timeout", "10m"]).await;
    let mut plan = stand.plan("/.lab/unread", 600, 10);
    plan.upload = 100_000;
    let mut crowd = stand.attack(Attack::Hold, &plan).await;
    let peak = stand.peak_over(SOON).await;
    assert!(peak <= MOST, "{} MiB", mib(peak));
    let report = crowd.report();
    assert!(report.sent > 0 && report.answered == 0, "{report:?}");
    stand.release().await;
    let (after, ended) = tokio::join!(stand.peak_over(SOON), timeout(60 * SOON, crowd.ended()));
    let report = crowd.report();
    assert!(ended.is_ok(), "they do not end: {report:?}");
    assert!(after <= MOST, "{} MiB after the release", mib(after));
    assert_eq!((report.answered, report.refused, report.reset), (6_000, 0, 0), "{report:?}");
    stand.is_left().await;
}

/// C 6: bodies of one byte a frame, of none, and of padding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crumbs_fit_or_are_refused() {
    let stand = Stand::new(&[]).await;
    let before = (stand.resident(), stand.charged().await);
    let crumbs: [Frame; 3] = [
        Frame::data(1, 0, "x"),
        Frame::data(1, 0, ""),
        Frame::data(1, flag::PADDED, [&[254u8][..], b"x", &[0; 254]].concat()),
    ];
    let mut wires = Vec::new();
    for crumb in crumbs {
        for _ in 0..20 {
            let mut wire = Wire::connect(stand.address).await.unwrap();
            let mut bytes = PREFACE.to_vec();
            bytes.extend([Frame::settings(&[]), post(1, "/.lab/unread")]);
            // As much as a window takes: padding counts.
            let size = crumb.payload.len().max(1);
            bytes.extend(std::iter::repeat_n(crumb.clone(), 65_000 / size));
            // A gate that has had enough closes.
            let _ = timeout(SOON, wire.send(&bytes)).await;
            wires.push(wire);
        }
    }
    let peak = stand.peak_over(SOON).await;
    let each = peak.saturating_sub(before.0) / 60;
    assert!(each <= 65_535 * 3 / 2 + 65_536, "{each} bytes for each connection");
    assert!(peak <= MOST, "{} MiB", mib(peak));
    drop(wires);
    stand.is_left().await;
    stand.is_even(before.1).await;
}

/// C 8: of two uploads on a connection one stands still. The other one waits for credit hardly more often than alone: that is
/// what it costs over a long path, however busy a machine is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_upload_does_not_stop_its_neighbour() {
    let stand = Stand::new(&[]).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        alone.push(neighbour(&stand, false).await);
        beside.push(neighbour(&stand, true).await);
    }
    let sum = |waits: &[u64]| waits.iter().sum::<u64>() as f64;
    // Four fifths of the speed alone are wanted. What is more here is waited at the begin, before the windows have grown: of
    // 64 MB nothing is seen of it (the bench `uploads`). They grow by the clock, so some is left to chance.
    assert!(sum(&beside) * 0.66 <= sum(&alone), "alone {alone:?}, beside a stalled one {beside:?}");
    println!("waits for credit: alone {alone:?}, beside a stalled one {beside:?}");
}

/// Uploads 16 MB, alone or beside an upload that nobody reads and that takes all it can get. How often it waited for credit.
async fn neighbour(stand: &Stand, beside_stalled: bool) -> u64 {
    const SIZE: u64 = 16_000_000;
    let mut wire = Wire::connect(stand.address).await.unwrap();
    let mut first = PREFACE.to_vec();
    first.extend([Frame::settings(&[]), post(3, "/.lab/sink")]);
    if beside_stalled {
        first.extend([post(5, "/.lab/unread")]);
    }
    wire.send(&first).await.unwrap();
    let (mut connection, mut window) = (65_535i64, 65_535i64);
    let (mut stalled, mut moving, mut sent) = (window, window, 0u64);
    let (mut waits, mut waiting) = (0, false);
    let exchange = async {
        loop {
            let mut bytes = Vec::new();
            // The stalled one takes all that it can get.
            for (stream, credit) in [(5, &mut stalled), (3, &mut moving)] {
                let more = |sent| if stream == 3 { sent < SIZE } else { beside_stalled };
                while connection > 0 && *credit > 0 && more(sent) {
                    let some = connection.min(*credit).min(16_384);
                    let some = if stream == 3 { some.min((SIZE - sent) as i64) } else { some };
                    *credit -= some;
                    connection -= some;
                    let mut flags = 0;
                    if stream == 3 {
                        sent += some as u64;
                        flags = if sent == SIZE { flag::END_STREAM } else { 0 };
                    }
                    bytes.extend([Frame::data(stream, flags, vec![0; some as usize])]);
                }
            }
            // Several frames may come before something can be sent.
            let dry = bytes.is_empty() && sent < SIZE;
            waits += u64::from(dry && !waiting);
            waiting = dry;
            wire.send(&bytes).await.unwrap();
            let frame = wire.next().await.unwrap().expect("the gate closed");
            let number = i64::from(frame.number(0).unwrap_or(0));
            match (frame.kind, frame.stream) {
                (kind::WINDOW_UPDATE, 0) => connection += number,
                (kind::WINDOW_UPDATE, 5) => stalled += number,
                (kind::WINDOW_UPDATE, 3) => moving += number,
                (kind::SETTINGS, _) if !frame.has(flag::ACK) => {
                    for entry in frame.payload.chunks(6).filter(|entry| entry[..2] == [0, 4]) {
                        let new = i64::from(u32::from_be_bytes(entry[2..].try_into().unwrap()));
                        (stalled, moving) = (stalled + new - window, moving + new - window);
                        window = new;
                    }
                    wire.frames([Frame::settings_ack()]).await.unwrap();
                }
                (kind::HEADERS, 3) => break,
                (kind::RST_STREAM | kind::GOAWAY, _) => panic!("{frame:?}"),
                (kind::PING, _) if !frame.has(flag::ACK) => {
                    let answer = Frame::new(kind::PING, flag::ACK, 0, frame.payload.clone());
                    wire.frames([answer]).await.unwrap();
                }
                _ => {}
            }
        }
    };
    let ended = timeout(60 * SOON, exchange).await;
    assert!(ended.is_ok(), "it stands still after {sent} of {SIZE} bytes");
    waits
}

/// C 13: one client with a thousand connections and uploads that nobody reads, and ten that are polite.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_greedy_client_leaves_their_share_to_others() {
    let stand = Stand::new(&["--max-wait", "10m", "--client-timeout", "1h", "--stall-timeout", "10m"]).await;
    let mut plan = stand.plan("/.lab/unread", 1_000, 10);
    plan.from = Some(([127, 0, 0, 2], 0).into());
    let crowd = stand.attack(Attack::Hold, &plan).await;
    eventually("all have come, and it holds all that it gets", async || {
        let (come, out) = (stand.metric("tidegate_connections").await, stand.metric(DISPLACED).await);
        come + out >= 1_000.0 && stand.metric("tidegate_memory_parked").await > 100.0
    })
    .await;
    assert!(crowd.report().sent > 1 << 20, "{:?}", crowd.report());
    // Enough of them to compare, however long a busy machine takes.
    let (end, all) = (Instant::now() + 20 * SOON, Arc::new(AtomicU64::new(0)));
    let mut polite = Vec::new();
    for client in 0..10u8 {
        let (target, all) = (stand.address, Arc::clone(&all));
        polite.push(tokio::spawn(async move {
            let (mut asked, mut done) = (0u64, 0u64);
            let body = vec![b'p'; 100_000];
            let head =
                b"POST /.lab/sink HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n";
            let _ = timeout_at(end, async {
                while all.load(Relaxed) < ENOUGH {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.bind(([127, 0, 1, client], 0).into()).unwrap();
                    asked += 1;
                    let mut tcp = socket.connect(target).await.unwrap();
                    let (mut answer, _) = (Vec::new(), tcp.write_all(&[&head[..], &body].concat()).await);
                    let _ = tcp.read_to_end(&mut answer).await;
                    let served = u64::from(answer.starts_with(b"HTTP/1.1 200 "));
                    done += served;
                    all.fetch_add(served, Relaxed);
                }
            })
            .await;
            (asked, done)
        }));
    }
    let peak = stand.peak_over(SOON).await;
    let mut counts = Vec::new();
    for client in polite {
        let (asked, done) = client.await.unwrap();
        // They ask for less than their share, so all of it is fair.
        assert!(done >= 1 && done as f64 >= 0.9 * asked as f64, "{done} of {asked} after {counts:?}");
        counts.push(done as f64);
    }
    let (sum, squares) = counts.iter().fold((0.0, 0.0), |(sum, squares), n| (sum + n, squares + n * n));
    println!("the polite ones had {counts:?}, {} MiB at most", mib(peak));
    // Jain, Chiu and Hawe (1984): 1 if all have the same.
    assert!(sum * sum / (10.0 * squares) >= 0.95, "{counts:?}");
    assert!(peak <= MOST, "{} MiB", mib(peak));
    assert_eq!(crowd.report().answered, 0, "the greedy one still holds what it had");
}
