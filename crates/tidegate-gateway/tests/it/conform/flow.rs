//! RFC 9113 §§5.2, 6.9: credit that the peer gives, and takes back.

use tidegate_lab::frames::{Block, Frame, code, flag, kind, setting};

use super::case::{all, case};
use super::peer::{Peer, ended, get, post};
use crate::stand::Stand;

const PROTOCOL: u32 = code::PROTOCOL_ERROR;
const FLOW: u32 = code::FLOW_CONTROL_ERROR;
const MOST: u32 = (1 << 31) - 1;

fn window(value: u32) -> Frame {
    Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, value)])
}

#[tokio::test]
async fn credit_has_a_form_and_a_bound() {
    let short = |stream, length| Frame::new(kind::WINDOW_UPDATE, 0, stream, vec![0; length]);
    all([
        case("6.9/1 nothing, for the connection").send([Frame::window_update(0, 0)]).closes(PROTOCOL),
        case("6.9/2 nothing, for a stream")
            .without_credit()
            .send([get(1, "/"), Frame::window_update(1, 0)])
            .resets(1, PROTOCOL)
            .but_h2_closes(PROTOCOL),
        case("6.9/3 of three bytes")
            .send([short(0, 3)])
            .closes(code::FRAME_SIZE_ERROR)
            .but_h2_closes(PROTOCOL),
        case("6.9 of three bytes, for a stream")
            .without_credit()
            .send([get(1, "/"), short(1, 3)])
            .closes(code::FRAME_SIZE_ERROR)
            .but_h2_closes(PROTOCOL),
        case("6.9 the reserved bit is ignored")
            .without_credit()
            .send([get(1, "/"), Frame::window_update(1, 1 << 31 | 5)])
            .answers(1, 200),
        case("6.9.1/2 more than 2^31-1 for the connection")
            .send([Frame::window_update(0, MOST), Frame::window_update(0, MOST)])
            .closes(FLOW),
        case("6.9.1/3 more than 2^31-1 for a stream")
            .without_credit()
            .send([post(1, "/"), Frame::window_update(1, MOST), Frame::window_update(1, MOST)])
            .resets(1, FLOW),
        case("6.9.1 exactly 2^31-1 for both")
            .without_credit()
            .send([Frame::window_update(0, MOST - 65_535), get(1, "/"), Frame::window_update(1, MOST)])
            .answers(1, 200),
        case("6.9.2/3 more than 2^31-1 at first")
            .send([window(1 << 31)])
            .closes(FLOW)
            .but_h2_closes(PROTOCOL),
        case("6.9.2 more than 2^31-1 by a change of what is there at first")
            .without_credit()
            .send([get(1, "/big/100000"), Frame::window_update(1, MOST - 1), window(2), window(MOST)])
            .closes(FLOW),
    ])
    .await;
}

#[tokio::test]
async fn no_byte_is_sent_without_credit() {
    let stand = Stand::new("limit = 2").await;
    // 6.9.1/1: of a stream, and of the connection.
    let mut peer = Peer::open(&stand, &[(setting::INITIAL_WINDOW_SIZE, 1)]).await;
    peer.frames([get(1, "/hello")]).await;
    for count in 1..=5 {
        assert!(peer.until(|came| came.iter().filter(|f| f.kind == kind::DATA).count() == count).await);
        assert!(peer.alive().await);
        assert_eq!(peer.data(1).len(), count, "{:?}", peer.came);
        peer.frames([Frame::window_update(1, 1)]).await;
    }
    assert!(peer.until(|came| ended(came, 1)).await);
    assert_eq!(peer.data(1), [b"h", b"e", b"l", b"l", b"o"]);
    // The connection's credit is shared by all streams, whatever each of them has.
    let mut peer = Peer::open(&stand, &[(setting::INITIAL_WINDOW_SIZE, MOST)]).await;
    peer.frames([get(1, "/big/50000"), get(3, "/big/50000")]).await;
    let sum = |came: &[Frame]| -> usize {
        came.iter().filter(|f| f.kind == kind::DATA).map(|f| f.payload.len()).sum()
    };
    assert!(peer.until(|came| sum(came) >= 65_535).await);
    assert!(peer.alive().await);
    assert_eq!(sum(&peer.came), 65_535);
    peer.frames([Frame::window_update(0, 34_465)]).await;
    assert!(peer.until(|came| ended(came, 1) && ended(came, 3)).await);
    assert_eq!((peer.data(1).concat().len(), peer.data(3).concat().len()), (50_000, 50_000));
    assert!(peer.came.iter().all(|f| f.payload.len() <= 16_384), "frames are no larger than the peer takes");
    drop(peer);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn a_window_changes_with_what_is_there_at_first() {
    let stand = Stand::new("limit = 2").await;
    // 6.9.2/1: streams that are open get more.
    let mut peer = Peer::open(&stand, &[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
    peer.frames([get(1, "/hello"), get(3, "/hello")]).await;
    assert!(peer.until(|came| came.iter().filter(|f| f.kind == kind::HEADERS).count() == 2).await);
    assert!(peer.alive().await);
    assert!(peer.data(1).is_empty() && peer.data(3).is_empty());
    peer.frames([window(1)]).await;
    assert!(peer.until(|came| came.iter().filter(|f| f.kind == kind::DATA).count() == 2).await);
    assert_eq!((peer.data(1), peer.data(3)), (vec![&b"h"[..]], vec![&b"h"[..]]));
    // 6.9.2/2: less than nothing, and back.
    peer.frames([window(0), Frame::window_update(1, 1), Frame::window_update(3, 3)]).await;
    assert!(peer.until(|came| came.iter().filter(|f| f.kind == kind::DATA).count() == 3).await);
    assert!(peer.alive().await);
    assert_eq!((peer.data(1), peer.data(3)), (vec![&b"h"[..]], vec![&b"h"[..], b"el"]));
    peer.frames([Frame::window_update(1, 1)]).await;
    assert!(peer.until(|came| came.iter().filter(|f| f.kind == kind::DATA).count() == 4).await);
    assert!(peer.alive().await);
    assert_eq!(peer.data(1), [b"h", b"e"]);
    peer.frames([window(100)]).await;
    assert!(peer.until(|came| ended(came, 1) && ended(came, 3)).await);
    assert_eq!((peer.data(1).concat(), peer.data(3).concat()), (b"hello".to_vec(), b"hello".to_vec()));
    stand.is_whole(2).await;
}

#[tokio::test]
async fn an_end_needs_no_credit() {
    let stand = Stand::new("limit = 4").await;
    // 6.9.1: as much credit as the body has bytes, of a body whose length nobody knows before its end.
    for size in [1, 16_384, 50_000] {
        let mut peer = Peer::open(&stand, &[(setting::INITIAL_WINDOW_SIZE, size)]).await;
        peer.frames([get(1, &format!("/big/{size}"))]).await;
        assert!(peer.until(|came| ended(came, 1)).await, "{size}");
        assert_eq!(peer.data(1).concat().len(), size as usize);
    }
    // The same with trailers; and what comes in two parts, the second of which has to wait.
    let mut peer = Peer::open(&stand, &[(setting::INITIAL_WINDOW_SIZE, 3)]).await;
    let head = Block::request("POST", "/echo").field("te", "trailers").field("trailer", "x-sum");
    let trailers =
        Frame::headers(1, flag::END_HEADERS | flag::END_STREAM, Block::new().field("x-sum", "1").bytes());
    peer.frames([Frame::headers(1, flag::END_HEADERS, head.bytes()), Frame::data(1, 0, "abc")]).await;
    assert!(peer.until(|came| came.iter().any(|f| f.kind == kind::DATA)).await);
    peer.frames([trailers]).await;
    assert!(peer.until(|came| ended(came, 1)).await);
    assert_eq!((peer.data(1).concat(), peer.came.last().unwrap().kind), (b"abc".to_vec(), kind::HEADERS));
    let mut peer = Peer::open(&stand, &[(setting::INITIAL_WINDOW_SIZE, 3)]).await;
    peer.frames([post(1, "/echo"), Frame::data(1, 0, "abc")]).await;
    assert!(peer.until(|came| came.iter().any(|f| f.kind == kind::DATA)).await);
    peer.frames([Frame::data(1, 0, "def")]).await;
    assert!(peer.alive().await);
    peer.frames([Frame::data(1, flag::END_STREAM, "ghi"), Frame::window_update(1, 6)]).await;
    assert!(peer.until(|came| ended(came, 1)).await);
    assert_eq!(peer.data(1).concat(), b"abcdefghi");
    drop(peer);
    stand.is_whole(4).await;
}
