//! RFC 9113 §§6.5-6.8: SETTINGS, PUSH_PROMISE, PING, GOAWAY.

use tidegate_lab::frames::{Block, Frame, code, flag, kind, setting};

use super::case::{all, case};
use super::peer::{Peer, get};
use crate::stand::Stand;

const PROTOCOL: u32 = code::PROTOCOL_ERROR;
const SIZE: u32 = code::FRAME_SIZE_ERROR;
const FLOW: u32 = code::FLOW_CONTROL_ERROR;

#[tokio::test]
async fn settings() {
    let set = |name, value| Frame::settings(&[(name, value)]);
    let of = |flags, stream, length| Frame::new(kind::SETTINGS, flags, stream, vec![0; length]);
    all([
        // settings.rs' errors become PROTOCOL_ERROR in framed_read.rs, whatever they are.
        case("6.5/1 an acknowledgement with a payload")
            .send([of(flag::ACK, 0, 1)])
            .closes(SIZE)
            .but_h2_closes(PROTOCOL),
        case("6.5/2 of a stream").send([of(0, 1, 6)]).closes(PROTOCOL),
        case("6.5/3 of three bytes").send([of(0, 0, 3)]).closes(SIZE).but_h2_closes(PROTOCOL),
        case("6.5 an acknowledgement of nothing").send([Frame::settings_ack(); 1]).closes(PROTOCOL),
        case("6.5.2/1 ENABLE_PUSH of 2").send([set(setting::ENABLE_PUSH, 2)]).closes(PROTOCOL),
        case("6.5.2/2 INITIAL_WINDOW_SIZE of 2^31")
            .send([set(setting::INITIAL_WINDOW_SIZE, 1 << 31)])
            .closes(FLOW)
            .but_h2_closes(PROTOCOL),
        case("6.5.2 INITIAL_WINDOW_SIZE of 2^31-1")
            .send([set(setting::INITIAL_WINDOW_SIZE, (1 << 31) - 1), get(1, "/")])
            .answers(1, 200),
        case("6.5.2/3 MAX_FRAME_SIZE below 2^14")
            .send([set(setting::MAX_FRAME_SIZE, 16_383)])
            .closes(PROTOCOL),
        case("6.5.2/4 MAX_FRAME_SIZE above 2^24-1")
            .send([set(setting::MAX_FRAME_SIZE, 1 << 24)])
            .closes(PROTOCOL),
        case("6.5.2 both ends of MAX_FRAME_SIZE")
            .send([
                set(setting::MAX_FRAME_SIZE, 16_384),
                set(setting::MAX_FRAME_SIZE, (1 << 24) - 1),
                get(1, "/"),
            ])
            .answers(1, 200),
        case("6.5.2/5 an unknown one").send([set(0xff, u32::MAX), get(1, "/")]).answers(1, 200),
        case("6.5.2 no streams, which are the gate's to open")
            .send([set(setting::MAX_CONCURRENT_STREAMS, 0), set(setting::HEADER_TABLE_SIZE, 0), get(1, "/")])
            .answers(1, 200),
    ])
    .await;
}

#[tokio::test]
async fn settings_are_taken_in_order_and_acknowledged() {
    let stand = Stand::new("limit = 2").await;
    // 6.5.3/2: each of them.
    let mut peer = Peer::open(&stand, &[]).await;
    peer.frames([Frame::settings(&[]), Frame::settings(&[(setting::MAX_FRAME_SIZE, 20_000)])]).await;
    assert!(peer.alive().await);
    assert_eq!(peer.acknowledged, 3);
    // 6.5.3/1: the last value of a frame counts.
    let window = |value| (setting::INITIAL_WINDOW_SIZE, value);
    let mut peer = Peer::open(&stand, &[window(100), window(1)]).await;
    peer.frames([get(1, "/hello")]).await;
    assert!(peer.until(|came| came.iter().any(|f| f.kind == kind::DATA)).await);
    peer.frames([Frame::window_update(1, 4)]).await;
    assert!(peer.until(|came| super::peer::ended(came, 1)).await);
    assert_eq!(peer.data(1), [&b"h"[..], b"ello"]);
    // 6.5.2: the gate says what it takes, and takes no push.
    let said = |name| peer.settings.iter().find(|(it, _)| *it == name).map(|(_, value)| *value);
    assert_eq!(said(setting::MAX_CONCURRENT_STREAMS), Some(100));
    assert!(said(setting::INITIAL_WINDOW_SIZE).is_none_or(|window| window <= 64 * 1024));
    assert!(said(setting::MAX_FRAME_SIZE).is_none_or(|size| size == 16 * 1024));
    stand.is_whole(2).await;
}

#[tokio::test]
async fn push_promise_ping_and_goaway() {
    let promise = [&2u32.to_be_bytes()[..], &Block::get("/").bytes()].concat();
    let of = |kind, flags, stream, length| Frame::new(kind, flags, stream, vec![3; length]);
    all([
        case("8.4 PUSH_PROMISE of a client")
            .without_credit()
            .send([get(1, "/"), Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, 1, promise)])
            .closes(PROTOCOL),
        case("6.7/1 PING is answered").send([Frame::ping(*b"anything")]).lives(),
        case("6.7/2 an answered PING is not answered").send([of(kind::PING, flag::ACK, 0, 8)]).lives(),
        case("6.7/3 PING of a stream").send([of(kind::PING, 0, 1, 8)]).closes(PROTOCOL),
        case("6.7/4 PING of six bytes").send([of(kind::PING, 0, 0, 6)]).closes(SIZE).but_h2_closes(PROTOCOL),
        case("6.7/4 PING of nine bytes").send([of(kind::PING, 0, 0, 9)]).closes(SIZE).but_h2_closes(PROTOCOL),
        case("6.8/1 GOAWAY of a stream").send([of(kind::GOAWAY, 0, 1, 8)]).closes(PROTOCOL),
        case("6.8 GOAWAY of seven bytes")
            .send([of(kind::GOAWAY, 0, 0, 7)])
            .closes(SIZE)
            .but_h2_closes(PROTOCOL),
    ])
    .await;
    // The answer has the same bytes, and the flag.
    let stand = Stand::new("").await;
    let mut peer = Peer::open(&stand, &[]).await;
    peer.frames([Frame::ping(*b"tidegate"), of(kind::PING, flag::ACK, 0, 8)]).await;
    assert!(peer.alive().await);
    let pings: Vec<_> = peer.came.iter().filter(|f| f.kind == kind::PING).collect();
    assert_eq!((pings.len(), pings[0].flags, &pings[0].payload[..]), (2, flag::ACK, &b"tidegate"[..]));
    // 6.8: work that was begun before a GOAWAY is finished.
    let mut peer = Peer::open(&stand, &[]).await;
    peer.frames([get(1, "/hello"), Frame::new(kind::GOAWAY, 0, 0, vec![0; 8])]).await;
    assert!(peer.until(|came| super::peer::ended(came, 1)).await);
    assert_eq!(peer.data(1).concat(), b"hello");
}
