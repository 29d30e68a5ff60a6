//! HTTP/2 connections that ask for far more than they read.

use tokio::io::AsyncWriteExt;

use crate::stand::{Stand, bounded, eventually};
use crate::wire::Wire;
use crate::wire2::{Wire2, get2, whole};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// `GET /hold` in HPACK: static entries, then literals.
fn block() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, 5];
    block.extend_from_slice(b"/hold");
    block.extend_from_slice(&[0x01, 1, b'a']);
    block
}

async fn raw(stand: &Stand) -> Wire {
    let mut wire = stand.connect().await;
    wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    wire
}

/// Writes until the gateway has had enough.
async fn until_cut(wire: &mut Wire, bytes: &[u8]) {
    bounded("the flood is cut", async { while wire.stream.write_all(bytes).await.is_ok() {} }).await;
}

async fn nobody_is_left(stand: &Stand) {
    eventually("nobody is left", || stand.metric("tidegate_connections") == 0.0).await;
    stand.origin.release(stand.origin.now());
    eventually("the origin is done", || stand.origin.now() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_never_read_hold_up_nobody() {
    // None is given up for not being read before all are there.
    let stand = Stand::new("limit = 1100\nstall-timeout = '1h'").await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut client = Wire2::connect(stand.address).await;
        for _ in 0..50 {
            crowd.push(client.begin(get2("/big/500000"), true).await);
        }
    }
    let begun = || stand.in_flight() as f64 + stand.metric("tidegate_streams");
    eventually("all are there", || begun() == 1000.0).await;
    let mut other = Wire2::connect(stand.address).await;
    for _ in 0..20 {
        assert_eq!(other.get("/hello").await.body, b"hello");
        assert_eq!(stand.get("/hello").await.text(), "hello");
    }
    drop(crowd);
    eventually("all permits are back", || stand.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_at_once_are_no_way_around_the_limit() {
    let stand = Stand::new("limit = 3").await;
    // With a client that keeps to the rules as far as it can.
    let client = Wire2::connect(stand.address).await;
    for _ in 0..3000 {
        let Ok(mut sender) = client.sender.clone().ready().await else { break };
        let Ok(stream) = sender.send_request(get2("/hold"), true) else { break };
        tokio::task::yield_now().await;
        drop(stream);
    }
    client.connection.abort();
    // And as fast as bytes can be written.
    let mut wire = raw(&stand).await;
    let mut flood = Vec::new();
    for stream in 0..20_000 {
        flood.extend(frame(HEADERS, 5, 2 * stream + 1, &block()));
        flood.extend(frame(RST_STREAM, 0, 2 * stream + 1, &[0, 0, 0, 8]));
    }
    let _ = bounded("it is taken or cut", wire.stream.write_all(&flood)).await;
    drop(wire);
    nobody_is_left(&stand).await;
    assert!(stand.origin.peak() <= 3);
    stand.is_whole(3).await;
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let stand = Stand::new("limit = 2").await;
    let mut wire = raw(&stand).await;
    wire.send(frame(HEADERS, 1, 1, &block())).await;
    until_cut(&mut wire, &frame(CONTINUATION, 0, 1, &[0x00, 1, b'x', 1, b'y'].repeat(200)).repeat(20)).await;
    let mut wire = raw(&stand).await;
    wire.send(frame(HEADERS, 1, 1, &block())).await;
    until_cut(&mut wire, &frame(CONTINUATION, 0, 1, &[]).repeat(1000)).await;
    nobody_is_left(&stand).await;
    assert_eq!(stand.origin.count(), 0);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn pings_and_settings_whose_answers_are_not_read_are_cut_off() {
    let stand = Stand::new("limit = 2\nstall-timeout = '200ms'").await;
    for flood in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])] {
        let mut wire = raw(&stand).await;
        until_cut(&mut wire, &flood.repeat(1000)).await;
    }
    nobody_is_left(&stand).await;
    stand.is_whole(2).await;
}

#[tokio::test]
async fn frames_that_make_no_sense_end_the_connection() {
    let stand = Stand::new("limit = 2").await;
    for junk in [
        frame(HEADERS, 5, 2, &block()),
        frame(HEADERS, 5, 1, &[0xff; 50]),
        frame(CONTINUATION, 4, 1, &block()),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(PING, 0, 0, &[0; 3]),
        vec![0xff; 1000],
    ] {
        let mut wire = raw(&stand).await;
        wire.send(&junk).await;
        wire.rest().await;
    }
    // Not a pause between begin and end of the preface, either.
    let mut wire = stand.connect().await;
    wire.send(&PREFACE[..10]).await;
    drop(wire);
    nobody_is_left(&stand).await;
    assert_eq!(stand.origin.count(), 0);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn more_streams_than_allowed_wait_their_turn() {
    let stand = Stand::new("limit = 2\nmax-queue = 1000").await;
    let mut client = Wire2::connect(stand.address).await;
    assert_eq!(client.get("/hello").await.body, b"hello"); // the client knows the bound from now on
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..250 {
        let mut sender = bounded("room", client.sender.clone().ready()).await.unwrap();
        answers.spawn(whole(sender.send_request(get2("/hello"), true).unwrap().0));
    }
    while let Some(answer) = answers.join_next().await {
        // The door may find the wait too long for some; none is reset.
        let answer = answer.unwrap().unwrap();
        assert!(answer.body == b"hello" || answer.head.status == 503, "{answer:?}");
    }
    assert!(stand.origin.peak() <= 2);
    stand.is_whole(2).await;
}
