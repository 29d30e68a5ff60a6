//! Peers that take too few bytes.

use std::time::Duration;

use tidegate::writer::{Progress, TooSlow, WriteError, Writers};
use tokio::io::{AsyncReadExt, duplex};
use tokio::time::{Instant, sleep, timeout};

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_given_up_after_the_longest_stall() {
    let writers = Writers::new();
    let (io, _peer) = duplex(10);
    let mut writer = writers.over(io);
    let begun = Instant::now();
    let slow = writer.send("more than ten bytes").await.unwrap_err();
    assert!(matches!(slow, WriteError::TooSlow(TooSlow::Stalled(_))), "{slow:?}");
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!((writers.stats().too_slow, writers.stats().aborted), (1, 0));
    assert_eq!(std::io::Error::from(slow).kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn every_wait_has_the_same_patience() {
    let progress = Progress::default().longest_stall(Duration::from_secs(3));
    let writers = Writers::new().max_bytes(8 << 10).progress(progress);
    for step in 0..3 {
        let (io, _peer) = duplex(10);
        let mut writer = writers.over(io);
        while writer.try_send(vec![0; 3000]).map(tidegate::writer::Sent::later).is_ok() {}
        let begun = Instant::now();
        let slow = match step {
            0 => writer.ready().await.map(drop).unwrap_err(),
            1 => writer.flush().await.unwrap_err(),
            _ => writer.finish().await.map(drop).unwrap_err(),
        };
        assert!(matches!(slow, WriteError::TooSlow(TooSlow::Stalled(_))), "{step}: {slow:?}");
        assert_eq!(begun.elapsed().as_secs(), 3, "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_given_up_after_the_grace() {
    let (io, mut peer) = duplex(64);
    let reading = tokio::spawn(async move {
        let mut some = [0; 64];
        loop {
            sleep(Duration::from_secs(1)).await;
            if peer.read(&mut some).await.unwrap() == 0 {
                return;
            }
        }
    });
    let mut writer = Writers::new().over(io);
    let begun = Instant::now();
    let slow = writer.send(vec![0; 30_000]).await.unwrap_err();
    assert!(matches!(slow, WriteError::TooSlow(TooSlow::Rate(1024))), "{slow:?}");
    assert_eq!(begun.elapsed().as_secs(), 11);
    reading.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_that_makes_progress_is_waited_for() {
    let (io, mut peer) = duplex(64 << 10);
    let reading = tokio::spawn(async move {
        let (mut some, mut all) = (vec![0; 64 << 10], 0);
        loop {
            // A stall just below the longest, and then a lot: a phone in a tunnel.
            sleep(Duration::from_secs(29)).await;
            match peer.read(&mut some).await.unwrap() {
                0 => return all,
                read => all += read,
            }
        }
    });
    let mut writer = Writers::new().over(io);
    let mut all = bytes::Bytes::from(vec![0; 1 << 20]);
    writer.send_all(&mut all).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(reading.await.unwrap(), 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nobody_waits_is_not_the_peers() {
    let (io, mut peer) = duplex(10);
    let mut writer = Writers::new().progress(Progress::default().least_rate(0)).over(io);
    for _ in 0..5 {
        // Waits for ten seconds, and does something else for an hour.
        assert!(timeout(Duration::from_secs(10), writer.send("more than ten bytes")).await.is_err());
        assert!(!writer.stalled_for().is_zero());
        sleep(Duration::from_secs(3600)).await;
        peer.read_exact(&mut [0; 10]).await.unwrap();
    }
    assert!(writer.get_ref().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_writer_says_how_long_it_is_stalled() {
    let (io, mut peer) = duplex(10);
    let mut writer = Writers::new().over(io);
    assert_eq!(writer.stalled_for(), Duration::ZERO);
    assert!(timeout(Duration::from_secs(7), writer.send("more than ten bytes")).await.is_err());
    assert_eq!(writer.stalled_for().as_secs(), 7);
    peer.read_exact(&mut [0; 10]).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(writer.stalled_for(), Duration::ZERO, "nothing is pending");
}
