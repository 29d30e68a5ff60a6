//! What each server holds for clients that never read. Asserts on bytes, not on time.

use std::sync::Arc;
use std::time::Duration;

use tidegate::writer::Writers;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::flood::Flood;
use crate::{CLIENTS, bounded, naive};

/// What each client offers.
const OFFERED: u64 = 8 << 20;

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let late = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < late, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_naive_one_holds_whatever_it_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, held) = (listener.local_addr().unwrap(), Arc::new(naive::Held::default()));
    let serving = tokio::spawn(naive::serve(listener, Arc::clone(&held)));
    let flood = Flood::start(address, CLIENTS, OFFERED);
    until("it takes everything", || flood.taken().iter().all(|taken| *taken >= OFFERED)).await;
    until("and holds it", || held.bytes() > OFFERED * CLIENTS as u64 / 4).await;
    flood.stop().await;
    serving.abort();
}

#[tokio::test]
async fn the_bounded_one_holds_its_bound_and_the_clients_are_blocked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, writers) = (listener.local_addr().unwrap(), Writers::new());
    let serving = tokio::spawn(bounded::serve(listener, writers.clone()));
    let flood = Flood::start(address, CLIENTS, OFFERED);
    until("all are served", || writers.stats().open() == CLIENTS as u64).await;
    let bound = CLIENTS as u64 * Writers::DEFAULT_MAX_BYTES;
    // Until nobody gets anything rid any more.
    for _ in 0..100 {
        let blocked = flood.blocked().await;
        assert!(writers.stats().buffered <= bound, "{:?}", writers.stats());
        if blocked == CLIENTS {
            break;
        }
    }
    let taken: u64 = flood.taken().iter().sum();
    assert!(taken > 0 && taken < OFFERED * CLIENTS as u64 / 2, "{taken}");

    // Meanwhile others are served.
    let (mut other, mut answer) = (TcpStream::connect(address).await.unwrap(), String::new());
    other.write_all(b"hello\nworld\n").await.unwrap();
    other.shutdown().await.unwrap();
    other.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello\nworld\n");
    assert_eq!(writers.stats().finished, 1);
    flood.stop().await;
    serving.abort();
}
