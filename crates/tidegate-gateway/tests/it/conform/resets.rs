//! Resets that a client causes: of the gate's side (CVE-2025-8671) and of its own (CVE-2023-44487). They are counted, and the
//! work behind them goes with the streams.

use tidegate_lab::frames::{Block, Frame, code, flag, kind};

use super::peer::{Peer, ended, get, post};
use crate::stand::{Stand, eventually};

/// Resets of the gate's own that a client may cause on one connection, and streams that it may have reset before the gate
/// has looked at their heads (docs/defaults.md).
const CAUSED: u32 = 256;
const PENDING: u32 = 20;
/// Fewer than come, so that there are always some that wait.
const LIMIT: usize = 3;

/// The first sends what begins work, the second what the gate must reset it for.
type Provokes = (&'static str, fn(u32) -> Frame, fn(u32) -> Frame);

const PROVOKES: [Provokes; 3] = [
    (
        "credit beyond all bounds",
        |stream| get(stream, "/hold"),
        |stream| Frame::window_update(stream, (1 << 31) - 1),
    ),
    (
        "a stream that depends on itself",
        |stream| get(stream, "/hold"),
        |stream| Frame::priority(stream, stream, 0),
    ),
    (
        "more than was declared",
        |stream| {
            let head = Block::request("POST", "/hold").field("content-length", "5");
            Frame::headers(stream, flag::END_HEADERS, head.bytes())
        },
        |stream| Frame::data(stream, 0, "more than five"),
    ),
];

fn stream(index: u32) -> u32 {
    2 * index + 1
}

fn resets(peer: &Peer) -> u32 {
    peer.came.iter().filter(|frame| frame.kind == kind::RST_STREAM).count() as u32
}

/// The gate ends the connection, and says why.
async fn is_sent_away(peer: &mut Peer, how: &str) {
    assert!(peer.closed().await, "{how}: the connection ends");
    let away = peer.came.iter().find(|frame| frame.kind == kind::GOAWAY).expect("it is told why");
    assert_eq!(away.number(4), Some(code::ENHANCE_YOUR_CALM), "{how}");
}

/// What was at the origin ends there, and nothing is left behind.
async fn is_as_before(stand: &Stand) {
    eventually("nobody is left", || stand.metric("tidegate_connections") == 0.0 && stand.waiting() == 0)
        .await;
    stand.origin.release(stand.origin.now());
    eventually("the origin is done", || stand.in_flight() == 0 && stand.origin.now() == 0).await;
    stand.is_whole(LIMIT).await;
}

#[tokio::test]
async fn a_client_that_makes_the_gate_reset_its_streams_is_sent_away() {
    for (how, begins, provokes) in PROVOKES {
        let stand = Stand::new(&format!("limit = {LIMIT}")).await;
        let mut peer = Peer::open(&stand, &[]).await;
        for index in 0..CAUSED {
            let stream = stream(index);
            peer.frames([begins(stream)]).await;
            let begun = f64::from(index + 1);
            eventually("its work has begun", || stand.metric("tidegate_requests_total") == begun).await;
            peer.frames([provokes(stream)]).await;
            assert!(peer.until(|came| ended(came, stream)).await, "{how}: {index}");
        }
        // As many as it may.
        assert!(peer.alive().await, "{how}");
        assert_eq!(resets(&peer), CAUSED, "{how}");
        // What was reset waits no more, although its client is still there: it would be a way around the bound of streams.
        eventually("none of it waits", || stand.waiting() == 0).await;
        assert!(stand.origin.count() <= LIMIT, "{how}: {} at the origin", stand.origin.count());
        peer.frames([begins(stream(CAUSED)), provokes(stream(CAUSED))]).await;
        is_sent_away(&mut peer, how).await;
        is_as_before(&stand).await;
    }
}

#[tokio::test]
async fn they_count_as_well_when_they_come_all_at_once() {
    for (how, begins, provokes) in PROVOKES {
        let stand = Stand::new(&format!("limit = {LIMIT}")).await;
        let mut peer = Peer::open(&stand, &[]).await;
        let both = |index| [begins(stream(index)), provokes(stream(index))];
        peer.frames((0..4 * CAUSED).flat_map(both)).await;
        is_sent_away(&mut peer, how).await;
        assert!(resets(&peer) <= CAUSED + 1, "{how}: {}", resets(&peer));
        assert!(stand.origin.count() <= LIMIT, "{how}: {} at the origin", stand.origin.count());
        is_as_before(&stand).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_its_requests_back_at_once_is_sent_away() {
    let stand = Stand::new(&format!("limit = {LIMIT}")).await;
    let both = |index| [get(stream(index), "/hold"), Frame::reset(stream(index), code::CANCEL)];
    let mut peer = Peer::open(&stand, &[]).await;
    // Those that were looked at count no longer: who changes its mind now and then is not sent away.
    let mut index = 0;
    for _ in 0..20 {
        peer.frames((index..index + PENDING).flat_map(both)).await;
        assert!(peer.alive().await, "after {index}");
        index += PENDING;
    }
    peer.frames((index..index + 5 * PENDING).flat_map(both)).await;
    is_sent_away(&mut peer, "reset at once").await;
    assert_eq!(resets(&peer), 0, "a reset is not answered with one");
    assert!(stand.origin.count() <= LIMIT, "{} at the origin", stand.origin.count());
    // So is one with bodies.
    let mut peer = Peer::open(&stand, &[]).await;
    let all = |index| {
        let head = post(stream(index), "/hold");
        [head, Frame::data(stream(index), 0, "x"), Frame::reset(stream(index), code::CANCEL)]
    };
    peer.frames((0..5 * PENDING).flat_map(all)).await;
    is_sent_away(&mut peer, "reset at once, with a body").await;
    is_as_before(&stand).await;
}
