//! Small pieces of a body that wait, with much else between them, are packed; whoever reads them does not notice.

use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, flag, kind};

use crate::stand::{Stand, bounded, eventually, get};

/// As many as a stream's window takes, and each in a buffer of its own.
const PIECES: usize = 60;
const PIECE: usize = 256;
const OTHER: (u8, usize) = (0x20, 7_900);

fn piece(number: usize) -> Vec<u8> {
    (0..PIECE).map(|at| (number * 7 + at) as u8).collect()
}

/// A connection whose upload waits at the door with pieces of it unread.
async fn waiting(stand: &Stand) -> Wire {
    let mut wire = Wire::connect(stand.address).await.unwrap();
    let mut bytes = PREFACE.to_vec();
    bytes.extend([Frame::settings(&[])]);
    let head = Block::request("POST", "/echo").bytes();
    bytes.extend([Frame::headers(1, flag::END_HEADERS, head)]);
    for number in 0..PIECES {
        bytes.extend([Frame::data(1, 0, piece(number)), Frame::new(OTHER.0, 0, 0, vec![0; OTHER.1])]);
    }
    bytes.extend([Frame::ping([1; 8])]);
    wire.send(&bytes).await.unwrap();
    // All of it is read when the gate answers what came last.
    while next(&mut wire).await.kind != kind::PING {}
    eventually("it waits", || stand.waiting() == 1).await;
    wire
}

async fn next(wire: &mut Wire) -> Frame {
    bounded("a frame", wire.next()).await.unwrap().expect("the gate closed")
}

async fn full() -> (Stand, crate::wire::Wire) {
    let stand = Stand::new("memory = '64MiB'\nlimit = 1\nmax-wait = '60s'\nclient-timeout = '10m'").await;
    let mut first = stand.connect().await;
    first.send(get("/hold")).await;
    eventually("the limit is reached", || stand.origin.now() == 1).await;
    (stand, first)
}

#[tokio::test]
async fn packed_pieces_are_whole_and_in_order() {
    let (stand, _first) = full().await;
    let mut wire = waiting(&stand).await;
    // Large and small after it, and trailers.
    let large = vec![b'L'; 1_000];
    let end = Block::new().field("x-sum", "1").bytes();
    wire.frames([
        Frame::data(1, 0, large.clone()),
        Frame::headers(1, flag::END_HEADERS | flag::END_STREAM, end),
    ])
    .await
    .unwrap();
    stand.origin.release(1);
    let mut body = Vec::new();
    loop {
        let frame = next(&mut wire).await;
        assert_ne!(frame.kind, kind::RST_STREAM, "{frame:?}");
        if frame.kind == kind::DATA {
            body.extend_from_slice(&frame.payload);
        }
        if matches!(frame.kind, kind::DATA | kind::HEADERS) && frame.has(flag::END_STREAM) {
            break;
        }
    }
    let sent: Vec<u8> = (0..PIECES).flat_map(piece).chain(large).collect();
    assert!(body == sent, "{} of {} bytes", body.len(), sent.len());
}

#[tokio::test]
async fn the_credit_of_packed_pieces_comes_back_when_their_stream_is_reset() {
    let (stand, _first) = full().await;
    let mut wire = waiting(&stand).await;
    // The same again on other streams, as often as a window that does not come back would not bear.
    let mut credit = 65_535 - (PIECES * PIECE) as i64;
    for stream in (3..60).step_by(2) {
        let head = Block::request("POST", "/echo").bytes();
        let mut frames = vec![Frame::reset(stream - 2, 8), Frame::headers(stream, flag::END_HEADERS, head)];
        while credit < (PIECES * PIECE) as i64 {
            let frame = next(&mut wire).await;
            if frame.kind == kind::WINDOW_UPDATE && frame.stream == 0 {
                credit += i64::from(frame.number(0).unwrap());
            }
        }
        for number in 0..PIECES {
            frames
                .extend([Frame::data(stream, 0, piece(number)), Frame::new(OTHER.0, 0, 0, vec![0; OTHER.1])]);
            credit -= PIECE as i64;
        }
        frames.push(Frame::ping(u64::from(stream).to_be_bytes()));
        wire.frames(frames).await.unwrap();
        loop {
            let frame = next(&mut wire).await;
            match frame.kind {
                kind::PING if frame.payload == u64::from(stream).to_be_bytes()[..] => break,
                kind::WINDOW_UPDATE if frame.stream == 0 => credit += i64::from(frame.number(0).unwrap()),
                kind::GOAWAY => panic!("{frame:?}"),
                _ => {}
            }
        }
    }
    stand.origin.release(1);
}
