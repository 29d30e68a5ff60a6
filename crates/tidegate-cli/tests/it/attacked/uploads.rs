//! Uploads that nobody reads, or that come in crumbs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tidegate_lab::attack::Attack;
use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, flag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use super::stand::{MOST, Stand, as_it_moves, eventually, mib};

const SOON: Duration = Duration::from_secs(3);
/// Uploads of ten polite clients, after which they are compared.
const ENOUGH: u64 = 200;
const DISPLACED: &str = "tidegate_memory_displaced_total";
/// Longer than anything here takes: nobody is to be sent away for the time that it takes.
const PATIENT: &[&str] =
    &["--max-wait", "10m", "--client-timeout", "1h", "--stall-timeout", "10m", "--origin-timeout", "1h"];

fn post(stream: u32, path: &str) -> Frame {
    Frame::headers(stream, flag::END_HEADERS, Block::request("POST", path).bytes())
}

/// C 4: uploads that the origin takes no byte of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_uploads_fit_and_finish_when_they_may() {
    let stand = Stand::new(PATIENT).await;
    let mut plan = stand.plan("/.lab/unread", 600, 10);
    plan.upload = 100_000;
    let crowd = stand.attack(Attack::Hold, &plan).await;
    let begun = eventually("they upload", async || crowd.report().sent > 0);
    let (peak, ()) = stand.peak_while(async { tokio::join!(begun, sleep(SOON)).0 }).await;
    assert!(peak <= MOST, "{} MiB", mib(peak));
    let report = crowd.report();
    assert!(report.answered == 0, "{report:?}");
    stand.release().await;
    let ended = as_it_moves("they end", async || (crowd.report().ended == 600, crowd.report()));
    let (after, ()) = stand.peak_while(ended).await;
    let report = crowd.report();
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

/// C 13: one client with a thousand connections and uploads that nobody reads, and ten that are polite.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_greedy_client_leaves_their_share_to_others() {
    let stand = Stand::new(PATIENT).await;
    let mut plan = stand.plan("/.lab/unread", 1_000, 10);
    plan.from = Some(([127, 0, 0, 2], 0).into());
    let crowd = stand.attack(Attack::Hold, &plan).await;
    eventually("all have come, and it holds all that it gets", async || {
        let (come, out) = (stand.metric("tidegate_connections").await, stand.metric(DISPLACED).await);
        let parked = stand.metric("tidegate_memory_parked").await;
        come + out >= 1_000.0 && parked > 100.0 && crowd.report().sent > 1 << 20
    })
    .await;
    // Enough of them to compare, however long a busy machine takes.
    let all = Arc::new(AtomicU64::new(0));
    let mut polite = Vec::new();
    for client in 0..10u8 {
        let (target, all) = (stand.address, Arc::clone(&all));
        polite.push(tokio::spawn(async move {
            let (mut asked, mut done) = (0u64, 0u64);
            let body = vec![b'p'; 100_000];
            let head =
                b"POST /.lab/sink HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n";
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
            (asked, done)
        }));
    }
    let served = async || (polite.iter().all(tokio::task::JoinHandle::is_finished), all.load(Relaxed));
    let (peak, ()) = stand.peak_while(as_it_moves("the polite ones are served", served)).await;
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
