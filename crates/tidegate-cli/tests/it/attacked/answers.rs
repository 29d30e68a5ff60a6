//! Answers that nobody reads.

use std::cell::RefCell;
use std::time::Duration;

use tidegate_lab::attack::{Attack, Crowd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::stand::{MOST, Stand, eventually, mib};

const SOON: Duration = Duration::from_secs(3);

/// C 1: an echo that is written to and never read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_that_is_not_read_stops_who_writes() {
    // An origin that sends back what comes, chunks and all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(echo(tcp));
        }
    });
    let stand = Stand::before(origin, &[]).await;
    let before = stand.resident();
    let mut floods = Vec::new();
    for _ in 0..10 {
        let mut tcp = TcpStream::connect(stand.address).await.unwrap();
        floods.push(tokio::spawn(async move {
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
            tcp.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await
                .unwrap();
            let mut written = 0u64;
            let writing = async {
                while tcp.write_all(chunk.as_bytes()).await.is_ok() {
                    written += 65_536;
                }
            };
            let _ = tokio::time::timeout(SOON, writing).await;
            (written, tcp)
        }));
    }
    let grown = stand.peak_over(SOON).await.saturating_sub(before);
    assert!(grown <= 10 << 20, "ten connections took {} MiB", mib(grown));
    let mut written = 0;
    for flood in floods {
        written += flood.await.unwrap().0;
    }
    // The writers stand still: the sockets on the way hold a few megabytes each.
    assert!(written < 10 * (24 << 20), "{} MiB were taken", mib(written));
}

async fn echo(mut tcp: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tcp.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let (mut read, mut write) = tcp.split();
    let _ = write.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

/// C 2: 8,000 streams that are never read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_never_read_fit_and_hold_up_nobody() {
    const CONNECTIONS: u32 = 40;
    // Longer than the others need: none is to be sent away before.
    let stand = Stand::new(&["--stall-timeout", "10m"]).await;
    let plan = stand.plan("/.lab/endless", CONNECTIONS, 200);
    let mut crowds = vec![stand.attack(Attack::Unread, &plan).await];
    let (mut served, mut most) = (0, 0.0);
    let others = async {
        eventually("others are served beside them", async || {
            // The gate's word: what they have sent may be in its kernel for long before it accepts them.
            let there = stand.metric("tidegate_connections").await;
            if there >= f64::from(CONNECTIONS) {
                assert!(stand.get("/").await.starts_with("HTTP/1.1 200 "));
                served += 1;
                return served == 50;
            }
            // They do not read the gate's pings either, so it sends them away after fifty seconds: the first may go before
            // the last have come. Then there are more.
            if there < most && served == 0 {
                crowds.push(stand.attack(Attack::Unread, &plan).await);
            }
            most = there;
            served > 0
        })
        .await;
    };
    let (peak, ()) = stand.peak_while(async { tokio::join!(others, sleep(SOON)).0 }).await;
    assert!(peak <= MOST, "{} MiB", mib(peak));
    drop(crowds);
    stand.is_left().await;
}

/// C 3: readers of a byte every five seconds, over HTTP/1 and HTTP/2, with one stream and with several.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_fit_and_are_sent_away() {
    const KERNEL: u64 = 32 * 1024;
    let stand = Stand::new(&["--stall-timeout", "10s"]).await;
    let crowds = RefCell::new(Vec::new());
    let kinds = [(Attack::Slow, 200, 1), (Attack::SlowHttp2, 200, 1), (Attack::SlowHttp2, 100, 4)];
    let come = async {
        for (client, (attack, connections, streams)) in (2..).zip(kinds) {
            let mut plan = stand.plan("/.lab/endless", connections, streams);
            plan.from = Some(([127, 0, 0, client], 0).into());
            let crowd = stand.attack(attack, &plan).await;
            crowds.borrow_mut().push(crowd);
        }
    };
    let (mut peak, mut looks, mut most) = (0, Vec::new(), Vec::new());
    // From the begin: on a busy machine the first have been sent away when the last come.
    let watch = async {
        eventually("they are served", async || {
            let mut unread = stand.unread();
            unread.sort_unstable();
            if unread.len() >= 10 {
                looks.push(unread.iter().sum::<u64>() / unread.len() as u64);
                most.extend(unread.get(unread.len() * 9 / 10));
            }
            peak = peak.max(stand.resident());
            let reports: Vec<_> = crowds.borrow().iter().map(Crowd::report).collect();
            let over: u64 = reports.iter().map(|report| report.answered + report.ended).sum();
            // Their first bytes may be with them before anything lies in the kernel.
            let begun = over >= 250 && reports.len() == 3 && reports.iter().all(|report| report.answered > 0);
            begun && !looks.is_empty()
        })
        .await;
    };
    let (after, (), ()) = tokio::join!(stand.peak_over(SOON), come, watch);
    let peak = peak.max(after);
    assert!(peak <= MOST, "{} MiB", mib(peak));
    // At the worst moment, for each that is being sent something.
    let worst = looks.iter().max().copied().unwrap_or(0);
    assert!(0 < worst && worst <= KERNEL, "{worst} bytes in the kernel for each, {looks:?}");
    // And nine in ten of them, whenever it is looked: also in the moment when their own kernel, for whose reader it has time,
    // has not acknowledged what it was sent.
    assert!(most.iter().all(|&most: &u64| most <= KERNEL), "{most:?}");
    // All of them, also those who found no place at first. They themselves do not see it before they have read what the
    // kernel holds for them, a byte every five seconds.
    stand.is_left().await;
    drop(crowds);
}

/// C 5: peers that give no credit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_credit_fit_and_are_reset() {
    let stand = Stand::new(&["--stall-timeout", "3s"]).await;
    let before = stand.resident();
    let crowd = stand.attack(Attack::Zero, &stand.plan("/.lab/endless", 10, 100)).await;
    let report = || crowd.report();
    let reset = async {
        eventually("they are answered", async || report().answered + report().reset >= 500).await;
        eventually("all are reset", async || report().reset + 100 * report().ended >= 1_000).await;
    };
    let (peak, ()) = stand.peak_while(reset).await;
    let grown = peak.saturating_sub(before);
    assert!(peak <= MOST && grown <= 1_000 * 40 * 1024, "{} MiB more", mib(grown));
    // The connections themselves are good.
    drop(crowd);
    stand.is_left().await;
}

/// C 7: heads that are small on the wire and large in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_references_fit_and_are_sent_away() {
    let stand = Stand::new(&["--stall-timeout", "3s"]).await;
    let before = stand.resident();
    let crowd = stand.attack(Attack::Bomb, &stand.plan("/.lab/endless", 10, 200)).await;
    // Each stream is reset, or its connection ended, within the time in which it must take something.
    let report = || crowd.report();
    let gone = eventually("all are sent away", async || report().reset + 200 * report().ended >= 2_000);
    let (peak, ()) = stand.peak_while(gone).await;
    let each = peak.saturating_sub(before) / 10;
    assert!(peak <= MOST && each <= 4 << 20, "{} MiB for each connection", mib(each));
    drop(crowd);
    stand.is_left().await;
}
