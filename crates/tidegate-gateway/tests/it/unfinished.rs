//! Header blocks that are begun and not ended: what they unpack to is charged while it is held.

use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, code, flag, kind};

use crate::origin::Seen;
use crate::stand::{Stand, bounded, eventually};

/// Fields of the table, a byte each, as many as a head may have by its size: 33 of its 32 KiB each.
const FIELDS: usize = 990;
/// What one takes at least: its entry in the map.
const ENTRY: f64 = 104.0;

fn charged(stand: &Stand) -> f64 {
    stand.metric("tidegate_memory_charged_bytes")
}

/// A connection that has said as much of a head as takes the most.
async fn begin(stand: &Stand) -> Wire {
    let mut wire = Wire::connect(stand.address).await.unwrap();
    let mut first = PREFACE.to_vec();
    first.extend([Frame::settings(&[])]);
    let head = Block::get("/hello").raw(&[0x40, 1, b'a', 0]).raw(&[0x80 | 62; FIELDS]).bytes();
    let (one, two) = head.split_at(head.len() / 2);
    first
        .extend([Frame::headers(1, flag::END_STREAM, one.to_vec()), Frame::continuation(1, 0, two.to_vec())]);
    wire.send(&first).await.unwrap();
    wire
}

/// One that keeps its floor, and more frames.
async fn open(stand: &Stand, frames: Vec<Frame>) -> Wire {
    let mut wire = Wire::connect(stand.address).await.unwrap();
    let mut first = PREFACE.to_vec();
    first.extend([Frame::settings(&[]), Frame::ping([1; 8])]);
    wire.send(&first).await.unwrap();
    assert!(next(&mut wire, kind::PING).await.is_some());
    wire.frames(frames).await.unwrap();
    wire
}

/// A crowd that leaves no memory for what may grow: connections with a request may take more than seven tenths.
async fn full(stand: &Stand, rest: f64) -> Vec<Wire> {
    let most = stand.metric("tidegate_memory_limit_bytes");
    let mut crowd = Vec::new();
    while charged(stand) < rest + (most - rest) * 0.7 {
        let get = Block::get("/hold").bytes();
        crowd.push(open(stand, vec![Frame::headers(1, flag::END_STREAM | flag::END_HEADERS, get)]).await);
        assert!(crowd.len() < 100, "there is no end");
    }
    crowd
}

/// An honest head of more than a frame.
fn long_head() -> Vec<Frame> {
    let head = Block::get("/hello").field("cookie", &"x".repeat(18_000)).bytes();
    let (one, two) = head.split_at(16 * 1024);
    vec![
        Frame::headers(1, flag::END_STREAM, one.to_vec()),
        Frame::continuation(1, flag::END_HEADERS, two.to_vec()),
    ]
}

async fn next(wire: &mut Wire, wanted: u8) -> Option<Frame> {
    loop {
        let frame = bounded("a frame", wire.next()).await.ok()??;
        if frame.kind == wanted {
            return Some(frame);
        }
    }
}

#[tokio::test]
async fn what_an_unfinished_block_holds_is_charged_until_it_ends() {
    let stand = Stand::new("memory = '64MiB'").await;
    let rest = charged(&stand);
    let mut usual = Wire::connect(stand.address).await.unwrap();
    let mut first = PREFACE.to_vec();
    first.extend([Frame::settings(&[]), Frame::ping([1; 8])]);
    usual.send(&first).await.unwrap();
    assert!(next(&mut usual, kind::PING).await.is_some());
    let floor = charged(&stand) - rest;
    drop(usual);
    eventually("it has left", || charged(&stand) == rest).await;

    let mut wire = begin(&stand).await;
    eventually("it is charged", || charged(&stand) >= rest + floor + FIELDS as f64 * ENTRY).await;
    // It has more fields than are allowed: that is its answer when it ends.
    wire.frames([Frame::continuation(1, flag::END_HEADERS, Vec::new())]).await.unwrap();
    assert!(next(&mut wire, kind::HEADERS).await.is_some());
    eventually("it is not charged any more", || charged(&stand) == rest + floor).await;
    // One that its client leaves is not, either.
    drop(wire);
    let wire = begin(&stand).await;
    eventually("it is charged", || charged(&stand) >= rest + floor + FIELDS as f64 * ENTRY).await;
    drop(wire);
    eventually("all is back", || charged(&stand) == rest).await;
}

#[tokio::test]
async fn a_block_for_which_there_is_no_memory_ends_its_connection() {
    let stand = Stand::new("memory = '32MiB'\nhead-timeout = '10m'\nidle-timeout = '10m'").await;
    let rest = charged(&stand);
    let refused = || stand.metric("tidegate_memory_refused_total");
    let mut crowd = Vec::new();
    while refused() == 0.0 {
        let before = charged(&stand);
        crowd.push(begin(&stand).await);
        let grown = || charged(&stand) >= before + FIELDS as f64 * ENTRY * 1.5;
        eventually("it is charged or refused", || grown() || refused() > 0.0).await;
        assert!(crowd.len() < 100, "there is no end");
    }
    assert!(crowd.len() > 5, "{}", crowd.len());
    let mut last = crowd.pop().unwrap();
    let away = next(&mut last, kind::GOAWAY).await.expect("it is told why");
    // Nothing of it was done, and it may ask again.
    assert_eq!((away.number(0), away.number(4)), (Some(0), Some(code::NO_ERROR)));
    assert_eq!(next(&mut last, kind::DATA).await, None);
    assert!(
        stand.metric("tidegate_memory_charged_peak_bytes") <= stand.metric("tidegate_memory_limit_bytes")
    );
    assert_eq!(stand.metric("tidegate_refused_total{reason=\"memory\"}"), 1.0);
    // Others are served meanwhile.
    assert_eq!(stand.get("/hello").await.status, 200);
    drop((crowd, last));
    eventually("all is back", || charged(&stand) == rest).await;
}

#[tokio::test]
async fn a_long_head_waits_for_memory_and_is_answered() {
    let words = "memory = '32MiB'\nhead-timeout = '10m'\nidle-timeout = '10m'\nmax-wait = '10m'\nclient-timeout = '1h'";
    let stand = Stand::new(words).await;
    let rest = charged(&stand);
    let mut honest = open(&stand, Vec::new()).await;
    let crowd = full(&stand, rest).await;
    let refused = stand.metric("tidegate_memory_refused_total");
    honest.frames(long_head()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let helloed = || stand.origin.seen().iter().filter(|seen| seen.target == "/hello").count();
    assert_eq!((helloed(), stand.metric("tidegate_memory_refused_total")), (0, refused), "it waits");
    stand.origin.release(100);
    drop(crowd);
    assert!(next(&mut honest, kind::HEADERS).await.is_some(), "it is answered");
    let cookie = |seen: &Seen| seen.header("cookie").len() == 18_000;
    assert!(stand.origin.seen().iter().any(cookie));
    // The connection goes on.
    honest
        .frames([Frame::headers(3, flag::END_STREAM | flag::END_HEADERS, Block::get("/hello").bytes())])
        .await
        .unwrap();
    assert!(next(&mut honest, kind::HEADERS).await.is_some());
    assert_eq!(helloed(), 2);
    drop(honest);
    eventually("all is back", || charged(&stand) == rest).await;
}

#[tokio::test]
async fn a_long_head_waits_no_longer_than_requests_do() {
    let words = "memory = '32MiB'\nhead-timeout = '10m'\nidle-timeout = '10m'\nmax-wait = '200ms'";
    let stand = Stand::new(words).await;
    let rest = charged(&stand);
    let mut honest = open(&stand, Vec::new()).await;
    let crowd = full(&stand, rest).await;
    honest.frames(long_head()).await.unwrap();
    let away = next(&mut honest, kind::GOAWAY).await.expect("it is told why");
    assert_eq!((away.number(0), away.number(4)), (Some(0), Some(code::NO_ERROR)));
    assert_eq!(next(&mut honest, kind::DATA).await, None);
    assert!(stand.origin.seen().iter().all(|seen| seen.target == "/hold"));
    drop(crowd);
}
