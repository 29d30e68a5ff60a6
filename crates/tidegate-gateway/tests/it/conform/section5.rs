//! RFC 9113 §5: the states of streams, their numbers and their count, errors, extensions.

use tidegate_lab::frames::{Block, Frame, code, flag, kind};

use super::case::{WHOLE, all, case};
use super::peer::{get, post};

const PROTOCOL: u32 = code::PROTOCOL_ERROR;
const CLOSED: u32 = code::STREAM_CLOSED;

fn data(stream: u32) -> Frame {
    Frame::data(stream, flag::END_STREAM, "x")
}

fn more(stream: u32) -> Frame {
    Frame::continuation(stream, flag::END_HEADERS, Block::new().field("x-more", "1").bytes())
}

fn trailers(stream: u32) -> Frame {
    Frame::headers(stream, WHOLE, Block::new().field("x-sum", "1").bytes())
}

#[tokio::test]
async fn a_stream_has_states() {
    all([
        case("5.1/1 idle: DATA").send([data(1)]).closes(PROTOCOL),
        case("5.1/2 idle: RST_STREAM").send([Frame::reset(1, code::CANCEL)]).closes(PROTOCOL),
        case("5.1/3 idle: WINDOW_UPDATE").send([Frame::window_update(1, 100)]).closes(PROTOCOL),
        case("5.1/4 idle: CONTINUATION").send([more(1)]).closes(PROTOCOL),
        case("5.1 idle: PRIORITY").send([Frame::priority(1, 0, 255), get(1, "/")]).answers(1, 200),
        // recv.rs takes DATA where none is expected for an error of the connection, with its own code.
        case("5.1/5 half closed: DATA")
            .without_credit()
            .send([get(1, "/"), data(1)])
            .resets(1, CLOSED)
            .but_h2_closes(PROTOCOL),
        case("5.1/6 half closed: HEADERS")
            .without_credit()
            .send([get(1, "/"), trailers(1)])
            .resets(1, CLOSED)
            .but_h2_closes(PROTOCOL),
        case("5.1/7 half closed: CONTINUATION")
            .without_credit()
            .send([get(1, "/"), more(1)])
            .closes(PROTOCOL),
        case("5.1 half closed: WINDOW_UPDATE, PRIORITY")
            .without_credit()
            .send([get(1, "/"), Frame::window_update(1, 100), Frame::priority(1, 0, 1)])
            .answers(1, 200),
        case("5.1 half closed: RST_STREAM")
            .without_credit()
            .send([get(1, "/"), Frame::reset(1, code::CANCEL)])
            .lives(),
        case("5.1/8 closed by RST_STREAM: DATA")
            .send([post(1, "/"), Frame::reset(1, code::CANCEL), data(1)])
            .resets(1, CLOSED),
        case("5.1/9 closed by RST_STREAM: HEADERS")
            .send([post(1, "/"), Frame::reset(1, code::CANCEL), trailers(1)])
            .closes(CLOSED)
            .but_h2_closes(PROTOCOL),
        case("5.1/10 closed by RST_STREAM: CONTINUATION")
            .send([post(1, "/"), Frame::reset(1, code::CANCEL), more(1)])
            .closes(PROTOCOL),
        case("5.1/11 closed: DATA").send([get(1, "/")]).ended(1).send([data(1)]).resets(1, CLOSED),
        case("5.1/12 closed: HEADERS")
            .send([get(1, "/")])
            .ended(1)
            .send([get(1, "/")])
            .closes(CLOSED)
            .but_h2_closes(PROTOCOL),
        case("5.1/13 closed: CONTINUATION").send([get(1, "/")]).ended(1).send([more(1)]).closes(PROTOCOL),
        case("5.1 closed: PRIORITY, WINDOW_UPDATE, RST_STREAM")
            .send([get(1, "/")])
            .ended(1)
            .send([Frame::priority(1, 0, 1), Frame::window_update(1, 1), Frame::reset(1, code::CANCEL)])
            .lives(),
        case("5.1 skipped and so closed: DATA")
            .without_credit()
            .send([get(5, "/"), data(3)])
            .resets(3, CLOSED),
    ])
    .await;
}

#[tokio::test]
async fn streams_have_numbers() {
    all([
        case("5.1.1/1 an even number").send([get(2, "/")]).closes(PROTOCOL),
        case("5.1.1/2 a smaller number than before")
            .without_credit()
            .send([get(5, "/"), get(3, "/")])
            .closes(PROTOCOL),
        case("5.1.1 the number 0").send([get(0, "/")]).closes(PROTOCOL),
        case("5.1.1 the largest number").send([get(0x7fff_ffff, "/")]).answers(0x7fff_ffff, 200),
        case("5.1.2/1 one stream more than allowed")
            .without_credit()
            .send((0..101).map(|index| get(2 * index + 1, "/")))
            .resets(201, code::REFUSED_STREAM),
        case("5.1.2 as many as allowed, and one when one is gone")
            .without_credit()
            .send((0..100).map(|index| get(2 * index + 1, "/")))
            .send([Frame::reset(1, code::CANCEL), get(201, "/"), Frame::window_update(201, 9)])
            .answers(201, 200)
            .lives(),
    ])
    .await;
}

#[tokio::test]
async fn priorities_are_read_and_change_nothing() {
    let depends = |stream: u32, on: u32, weight: u8| {
        let block = [&on.to_be_bytes()[..], &[weight], &Block::get("/").bytes()].concat();
        Frame::headers(stream, WHOLE | flag::PRIORITY, block)
    };
    all([
        // RFC 7540's rule, which RFC 9113 no longer has; h2 keeps it.
        case("5.3.1/1 HEADERS that depend on their own stream")
            .send([depends(1, 1, 255)])
            .resets(1, PROTOCOL),
        case("5.3.1/2 PRIORITY that depends on its own stream")
            .without_credit()
            .send([get(1, "/"), Frame::priority(1, 1, 255)])
            .resets(1, PROTOCOL),
        case("5.3.2 HEADERS with a priority").send([depends(1, 0, 0), depends(3, 1, 255)]).answers(3, 200),
        case("5.3.2 HEADERS with an exclusive priority").send([depends(3, 1 << 31, 1)]).answers(3, 200),
        case("5.3.2 a tree of what does not exist")
            .send((0..200).map(|stream| Frame::priority(2 * stream + 1, 2 * stream + 3, 7)))
            .send([get(401, "/")])
            .answers(401, 200),
    ])
    .await;
}

#[tokio::test]
async fn errors_are_told_before_the_end() {
    all([
        case("5.4.1/1 an error of the connection is told with GOAWAY")
            .send([Frame::new(kind::PING, 0, 3, vec![0; 8])])
            .closes(PROTOCOL),
        case("5.4.1 the last stream it names was answered")
            .send([get(1, "/")])
            .ended(1)
            .send([Frame::new(kind::PING, 0, 3, vec![0; 8])])
            .answers(1, 200)
            .closes(PROTOCOL),
        case("5.4.2 an error of a stream leaves the others")
            .without_credit()
            .send([get(1, "/"), get(3, "/"), Frame::priority(1, 1, 0), Frame::window_update(3, 9)])
            .resets(1, PROTOCOL)
            .answers(3, 200),
        case("5.4.2 a reset is not answered with one")
            .without_credit()
            .send([get(1, "/"), Frame::reset(1, 0xdead_beef), Frame::reset(1, 0)])
            .lives(),
        case("7/1 GOAWAY with an unknown code")
            .send([Frame::new(kind::GOAWAY, 0, 0, vec![0xff; 8])])
            .send([get(1, "/")])
            .answers(1, 200),
        case("7/2 RST_STREAM with an unknown code")
            .send([post(1, "/"), Frame::reset(1, 0xff), get(3, "/")])
            .answers(3, 200),
    ])
    .await;
}

#[tokio::test]
async fn extensions_are_ignored_where_they_may_be() {
    let unknown = |stream| Frame::new(0xfa, 0xff, stream, vec![7; 64]);
    all([
        case("5.5/1 an unknown frame")
            .send([unknown(0), get(1, "/"), unknown(1), unknown(9)])
            .answers(1, 200),
        case("5.5/2 an unknown frame inside of a header block")
            .send([Frame::headers(1, 1, Block::get("/").bytes()), unknown(1)])
            .closes(PROTOCOL),
        case("5.5 an unknown frame between parts of a body")
            .send([post(1, "/"), Frame::data(1, 0, "x"), unknown(1), data(1)])
            .answers(1, 200),
    ])
    .await;
}
