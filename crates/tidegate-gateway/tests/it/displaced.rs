//! What a connection hears for which there is no place, in the words that it understands.

use std::net::SocketAddr;

use h2::client::Builder;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::kernel::received;
use crate::parties::{LEAST, PLACES, connections, crowd, from, is_left};
use crate::reasons::refused;
use crate::stand::{Stand, bounded, eventually, get};
use crate::tls::Secure;
use crate::wire::{Answer, Wire};
use crate::wire2::{Wire2, get2, whole};

/// With it, whoever takes the last permit displaces the newest of those with most parked.
const PERMITS: usize = 60;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn few_permits() -> String {
    format!("{LEAST}\nmax-connections = {PERMITS}")
}

fn displaced(stand: &Stand) -> f64 {
    stand.metric("tidegate_memory_displaced_total")
}

/// As many connections of one client as there are permits but one, silent ones, most of them parked.
async fn greedy(stand: &Stand) -> Vec<TcpStream> {
    let mut all = Vec::new();
    while all.len() < PERMITS - 1 {
        all.push(from([127, 0, 0, 2], stand.address).await);
    }
    eventually("they are accepted", || connections(stand) == PERMITS - 1).await;
    all
}

/// Displaces the newest of them after it has sent this, and waits until the gate is through with it.
async fn displace(stand: &Stand, all: &mut Vec<TcpStream>, sent: &[u8]) -> Wire {
    let before = displaced(stand);
    let mut newest = all.pop().unwrap();
    newest.write_all(sent).await.unwrap();
    let SocketAddr::V4(from_there) = newest.local_addr().unwrap() else { panic!("of the other family") };
    let there = || received(stand.address.port()).get(&from_there).copied();
    eventually("it is in the gate's kernel", || there() == Some(sent.len() as u64)).await;
    let other = from([127, 0, 0, 3], stand.address).await;
    eventually("it is displaced", || displaced(stand) == before + 1.0).await;
    eventually("it is closed", || connections(stand) == PERMITS - 1).await;
    drop(other);
    eventually("the other has left", || connections(stand) == PERMITS - 2).await;
    Wire::over(newest)
}

fn says_why(answer: &Answer) {
    assert_eq!((answer.status, answer.header("connection")), (503, "close"));
    let after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=6).contains(&after), "{after}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

/// It has been closed in order, with nothing unread that would have become a reset.
async fn has_ended(mut wire: Wire) {
    assert_eq!(wire.rest().await, b"");
    assert!(SockRef::from(&wire.stream).take_error().unwrap().is_none(), "it was reset");
}

#[tokio::test]
async fn who_has_said_nothing_or_speaks_http1_gets_a_503() {
    let stand = Stand::new(&few_permits()).await;
    let rest = stand.metric("tidegate_memory_charged_bytes");
    let mut all = greedy(&stand).await;
    // Nothing; a begin; a request; one with a body that fills more than a head.
    let long = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n{}", "b".repeat(40_000));
    for sent in ["", "\r\nGE", "PRINT / HTTP/1.1\r\n", &get("/hello"), &long] {
        let mut wire = displace(&stand, &mut all, sent.as_bytes()).await;
        let answer = wire.answer().await;
        says_why(&answer);
        let problem = answer.problem();
        assert_eq!((&problem["reason"], &problem["worth_retrying"]), (&"memory".into(), &true.into()));
        assert!(answer.whole);
        has_ended(wire).await;
        all.push(from([127, 0, 0, 2], stand.address).await);
        eventually("another has come", || connections(&stand) == PERMITS - 1).await;
    }
    let mut wire = displace(&stand, &mut all, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = wire.answer_to_head().await;
    says_why(&answer);
    assert!(answer.header("content-length").parse::<usize>().unwrap() > 0);
    has_ended(wire).await;
    assert_eq!((refused(&stand, "memory"), stand.metric("tidegate_memory_refused_total")), (6.0, 6.0));
    assert_eq!(stand.origin.count(), 0);
    drop(all);
    is_left(&stand, rest).await;
}

#[tokio::test]
async fn who_speaks_http2_is_told_that_nothing_was_begun() {
    let stand = Stand::new(&few_permits()).await;
    let mut all = greedy(&stand).await;
    let mut said = PREFACE.to_vec();
    said.extend_from_slice(SETTINGS);
    for sent in [&said[..], PREFACE, b"PRI * HT"] {
        let mut wire = displace(&stand, &mut all, sent).await;
        let words = wire.bytes(1000).await;
        let (settings, goaway) = words.split_at(SETTINGS.len());
        assert_eq!(settings, SETTINGS);
        let length = usize::from(goaway[1]) << 8 | usize::from(goaway[2]);
        // GOAWAY of the connection: no stream, no error; and why.
        assert_eq!((goaway[0], &goaway[3..17]), (0, &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!(goaway.len(), 9 + length);
        let why: serde_json::Value = serde_json::from_slice(&goaway[17..]).unwrap();
        assert_eq!(why["reason"], "memory");
        has_ended(wire).await;
        all.push(from([127, 0, 0, 2], stand.address).await);
        eventually("another has come", || connections(&stand) == PERMITS - 1).await;
    }
    // A client hears that its request may be sent again.
    let before = displaced(&stand);
    let mut client = Wire2::over(all.pop().unwrap(), &Builder::new()).await;
    let (answer, _) = client.begin(get2("/hello"), true).await;
    let said = || received(stand.address.port()).into_values().max();
    eventually("it is in the gate's kernel", || said() > Some(PREFACE.len() as u64)).await;
    let _other = from([127, 0, 0, 3], stand.address).await;
    let error = bounded("an answer", whole(answer)).await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
    assert_eq!((displaced(&stand), stand.origin.count()), (before + 1.0, 0));
    assert_eq!(refused(&stand, "memory"), 4.0);
}

#[tokio::test]
async fn nothing_is_said_to_what_is_neither() {
    let stand = Stand::new(&few_permits()).await;
    let mut all = greedy(&stand).await;
    let wire = displace(&stand, &mut all, b"\x16\x03\x01\x02\x00\x01").await;
    assert_eq!({ wire }.rest().await, b"");
    assert_eq!(refused(&stand, "memory"), 0.0);
}

#[tokio::test]
async fn nothing_is_said_in_tls() {
    let secure = Secure::with("displaced", &few_permits()).await;
    let mut all = greedy(&secure.stand).await;
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n"] {
        let mut wire = displace(&secure.stand, &mut all, sent).await;
        assert_eq!(wire.rest().await, b"");
        all.push(from([127, 0, 0, 2], secure.stand.address).await);
        eventually("another has come", || connections(&secure.stand) == PERMITS - 1).await;
    }
    assert_eq!(refused(&secure.stand, "memory"), 0.0);
}

#[tokio::test]
async fn who_finds_no_place_hears_it_at_once() {
    let stand = Stand::new(LEAST).await;
    let _all = crowd(&stand, [127, 0, 0, 2], PLACES).await;
    for told in 1..=5 {
        let mut wire = Wire::over(from([127, 0, 0, 2], stand.address).await);
        let answer = wire.answer().await;
        says_why(&answer);
        assert_eq!(answer.reason(), "memory");
        has_ended(wire).await;
        assert_eq!((refused(&stand, "memory"), displaced(&stand)), (f64::from(told), f64::from(told)));
    }
}

#[tokio::test]
async fn a_drain_displaces_nobody() {
    let stand = Stand::new(LEAST).await;
    let mut all = crowd(&stand, [127, 0, 0, 2], 3).await;
    stand.shutdown.drain();
    for tcp in all.split_off(all.len() - 3) {
        assert_eq!(Wire::over(tcp).rest().await, b"");
    }
    assert_eq!((refused(&stand, "memory"), displaced(&stand)), (0.0, 0.0));
}
