//! Floors are shared between client addresses: who is parked, who is let in, and who has to go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::stand::{BOUND, Stand, eventually, get};
use crate::wire::Wire;

/// The least: the program, floors for about thirty connections, and 256 places to park. Nobody is sent away for waiting.
pub(crate) const LEAST: &str = "memory = '32MiB'\nlimit = 2000\nmax-queue = 2000\nmax-wait = '1h'\nclient-timeout = '10h'\nhead-timeout = '1h'\nstall-timeout = '1h'\nidle-timeout = '1h'";
pub(crate) const PLACES: usize = 256;

pub(crate) async fn from(client: [u8; 4], target: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((client, 0).into()).unwrap();
    timeout(BOUND, socket.connect(target)).await.unwrap().unwrap()
}

fn parked(stand: &Stand) -> usize {
    stand.metric("tidegate_memory_parked") as usize
}

pub(crate) fn connections(stand: &Stand) -> usize {
    stand.metric("tidegate_connections") as usize
}

/// Silent connections of one client: as many as are let in, and so many that are parked.
pub(crate) async fn crowd(stand: &Stand, client: [u8; 4], waiting: usize) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    while parked(stand) < waiting {
        let before = connections(stand);
        crowd.push(from(client, stand.address).await);
        eventually("it is accepted", || connections(stand) > before).await;
        assert!(crowd.len() < 100 + waiting, "there is no end");
    }
    crowd
}

/// The other side closes, whatever it has said before.
async fn ends(tcp: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = timeout(BOUND, tcp.read_to_end(&mut rest)).await.expect("it is still open");
}

pub(crate) async fn is_left(stand: &Stand, charged: f64) {
    eventually("nothing is left", || {
        connections(stand) == 0
            && parked(stand) == 0
            && stand.metric("tidegate_memory_parties") == 0.0
            && stand.metric("tidegate_memory_charged_bytes") == charged
    })
    .await;
}

#[tokio::test]
async fn a_connection_whose_floor_does_not_fit_is_parked_unread_until_it_does() {
    let stand = Stand::new(LEAST).await;
    let rest = stand.metric("tidegate_memory_charged_bytes");
    let mut all = crowd(&stand, [127, 0, 0, 1], 1).await;
    assert!(all.len() > 25, "{} fit", all.len());
    let mut last = Wire::over(all.pop().unwrap());
    last.send(get("/hello")).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(stand.origin.count(), 0);
    // One goes, and it comes in. Over HTTP/1 it gives most of its floor back, so another one fits.
    all.pop();
    assert_eq!(last.answer().await.text(), "hello");
    assert_eq!(stand.get("/hello").await.text(), "hello");
    let charged = stand.metric("tidegate_memory_charged_bytes");
    assert!(charged <= stand.metric("tidegate_memory_limit_bytes"));
    drop((all, last));
    is_left(&stand, rest).await;
}

#[tokio::test]
async fn an_address_that_holds_all_does_not_keep_others_out() {
    let stand = Stand::new(LEAST).await;
    let _crowd = crowd(&stand, [127, 0, 0, 2], 20).await;
    for round in 0..3 {
        for client in 0..10 {
            let mut wire = Wire::over(from([127, 0, 1, client], stand.address).await);
            wire.send(get("/hello")).await;
            assert_eq!(wire.answer().await.text(), "hello", "{client} in round {round}");
        }
    }
    assert_eq!(parked(&stand), 20);
    let status = stand.gateway.status().memory.unwrap();
    let greedy = status.addresses.iter().find(|it| it.address == "127.0.0.2").unwrap();
    assert_eq!((greedy.parked, greedy.bytes), (20, status.addresses[0].bytes));
    assert!(status.addresses.len() <= 10);
}

/// C 13, in counts: of what comes free each has the same, however many wait.
#[tokio::test]
async fn who_comes_late_and_who_is_many_have_the_same() {
    const POLITE: usize = 10;
    let stand = Arc::new(Stand::new(LEAST).await);
    let counts: Arc<Vec<AtomicUsize>> = Arc::new((0..=POLITE).map(|_| AtomicUsize::new(0)).collect());
    let mut clients = JoinSet::new();
    let mut come = |party: usize, connections: usize| {
        for _ in 0..connections {
            let (address, counts) = (stand.address, Arc::clone(&counts));
            clients.spawn(async move {
                loop {
                    let mut tcp = from([127, 0, 2, party as u8], address).await;
                    let ask = b"GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                    let (mut answer, _) = (Vec::new(), tcp.write_all(ask).await);
                    let _ = tcp.read_to_end(&mut answer).await;
                    if answer.starts_with(b"HTTP/1.1 200 ") {
                        counts[party].fetch_add(1, SeqCst);
                    }
                }
            });
        }
    };
    let done = || counts.iter().map(|count| count.load(SeqCst)).sum::<usize>();
    // A few at a time, the oldest first.
    let some_more = async || {
        let before = done();
        eventually("some are there", || stand.origin.now() > 50).await;
        stand.origin.release(11);
        eventually("they are answered", || done() >= before + 11).await;
    };
    come(0, 250);
    eventually("it holds all", || stand.origin.now() > 80).await;
    for party in 1..=POLITE {
        come(party, 20);
    }
    // All that came first are released.
    for _ in 0..30 {
        some_more().await;
    }
    let before: Vec<_> = counts.iter().map(|count| count.load(SeqCst)).collect();
    for _ in 0..60 {
        some_more().await;
    }
    let counts: Vec<_> =
        counts.iter().zip(before).map(|(count, before)| (count.load(SeqCst) - before) as f64).collect();
    let fair = counts.iter().sum::<f64>() / (POLITE + 1) as f64;
    println!("a fair share is {fair}; the greedy one and the polite ones had {counts:?}");
    let polite = &counts[1..];
    assert!(polite.iter().all(|count| *count >= 0.9 * fair), "{counts:?}");
    let (sum, squares) = polite.iter().fold((0.0, 0.0), |(sum, squares), n| (sum + n, squares + n * n));
    // Jain, Chiu and Hawe (1984): 1 if all have the same.
    assert!(sum * sum / (POLITE as f64 * squares) >= 0.95, "{counts:?}");
}

#[tokio::test]
async fn parked_clients_that_leave_or_say_nonsense_free_their_places() {
    let stand = Stand::new(LEAST).await;
    let rest = stand.metric("tidegate_memory_charged_bytes");
    let inside = crowd(&stand, [127, 0, 0, 2], 1).await;
    let mut out = Vec::new();
    for _ in 0..40 {
        out.push(from([127, 0, 0, 2], stand.address).await);
    }
    eventually("they are parked", || parked(&stand) == 41).await;
    for (at, mut tcp) in out.into_iter().enumerate() {
        match at % 4 {
            // Closed, with and without bytes that nobody has read.
            0 => drop(tcp),
            1 => drop(tcp.write_all(b"GET / HTTP/1.1\r\n").await),
            // Closed for writing.
            2 => {
                tcp.shutdown().await.unwrap();
                ends(&mut tcp).await;
            }
            // Reset.
            _ => {
                tcp.write_all(&[0xff; 50_000]).await.unwrap();
                let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
            }
        }
    }
    eventually("their places are free", || parked(&stand) == 1).await;
    // One that says nonsense stays until it is its turn.
    let mut nonsense = from([127, 0, 0, 3], stand.address).await;
    nonsense.write_all(b"\x16\x03nonsense\r\n\r\n").await.unwrap();
    ends(&mut nonsense).await;
    drop((inside, nonsense));
    is_left(&stand, rest).await;
}

#[tokio::test]
async fn when_too_many_are_parked_the_newest_of_the_largest_go() {
    let stand = Stand::new(LEAST).await;
    let rest = stand.metric("tidegate_memory_charged_bytes");
    let mut greedy = crowd(&stand, [127, 0, 0, 2], PLACES).await;
    for _ in 0..5 {
        ends(&mut from([127, 0, 0, 2], stand.address).await).await;
    }
    assert_eq!((parked(&stand), stand.metric("tidegate_memory_displaced_total")), (PLACES, 5.0));
    // Others find a place; the first of them are let in.
    let mut others = Vec::new();
    for client in 0..60 {
        let before = connections(&stand);
        others.push(from([127, 0, 1, client], stand.address).await);
        eventually("it has come", || {
            connections(&stand) > before || stand.metric("tidegate_memory_displaced_total") > 5.0
        })
        .await;
    }
    eventually("they have places", || stand.metric("tidegate_memory_parties") == 61.0).await;
    assert_eq!(parked(&stand), PLACES);
    let displaced = stand.metric("tidegate_memory_displaced_total") as usize - 5;
    assert!((30..60).contains(&displaced), "{displaced}");
    for tcp in greedy.iter_mut().rev().take(displaced) {
        ends(tcp).await;
    }
    // All that stayed are served when the greedy one has left.
    drop(greedy);
    for tcp in others {
        let mut wire = Wire::over(tcp);
        wire.send(get("/hello")).await;
        assert_eq!(wire.answer().await.text(), "hello");
    }
    is_left(&stand, rest).await;
}

#[tokio::test]
async fn a_thousand_addresses_come_and_go() {
    let stand = Stand::new(LEAST).await;
    let rest = stand.metric("tidegate_memory_charged_bytes");
    let mut there = std::collections::VecDeque::new();
    for number in 0..1000u16 {
        let [high, low] = number.to_be_bytes();
        there.push_back(from([127, 1, high, low], stand.address).await);
        if there.len() > 200 {
            there.pop_front();
        }
        assert!(stand.metric("tidegate_memory_parties") <= (PLACES + 50) as f64);
    }
    drop(there);
    is_left(&stand, rest).await;
    assert_eq!(stand.get("/hello").await.text(), "hello");
}

#[tokio::test]
async fn a_drain_sends_the_parked_away_and_serves_the_others() {
    let mut stand = Stand::new(LEAST).await;
    let mut inside = Wire::over(from([127, 0, 0, 3], stand.address).await);
    inside.send(get("/hold")).await;
    eventually("it is served", || stand.origin.now() == 1).await;
    let mut all = crowd(&stand, [127, 0, 0, 2], 10).await;
    stand.shutdown.drain();
    for tcp in all.iter_mut().rev().take(10) {
        ends(tcp).await;
    }
    eventually("nobody is parked", || parked(&stand) == 0).await;
    stand.origin.release(1);
    assert_eq!(inside.answer().await.text(), "held");
    drop((all, inside));
    assert!(stand.end().await);
}

#[tokio::test]
async fn a_trusted_proxy_has_no_share() {
    let stand = Stand::new(&format!("{LEAST}\ntrusted-proxy = ['127.0.0.2']")).await;
    let _small = Wire::over(from([127, 0, 0, 3], stand.address).await);
    let proxy = crowd(&stand, [127, 0, 0, 2], 1).await;
    // Another client would have been stopped at half of it.
    assert!(proxy.len() > 30, "{}", proxy.len());
    let other = crowd(&stand, [127, 0, 0, 4], 2).await;
    assert!(!other.is_empty());
}

#[tokio::test]
async fn who_is_parked_does_not_hold_the_last_permit() {
    let stand = Stand::new(&format!("{LEAST}\nmax-connections = 60")).await;
    let mut greedy = Vec::new();
    for _ in 0..80 {
        greedy.push(from([127, 0, 0, 2], stand.address).await);
    }
    // Who is displaced still counts among those who are there for a moment, in which it hears why.
    eventually("all have come, and one permit is free", || {
        let there = connections(&stand);
        there < 60 && there + stand.metric("tidegate_memory_displaced_total") as usize == 80
    })
    .await;
    assert!(parked(&stand) > 10);
    for client in 0..10 {
        let mut wire = Wire::over(from([127, 0, 1, client], stand.address).await);
        wire.send(get("/hello")).await;
        assert_eq!(wire.answer().await.text(), "hello", "{client}");
    }
}
