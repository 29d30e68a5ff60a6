//! RFC 9113 §§6.1-6.4, 6.10: DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION.

use tidegate_lab::frames::{Block, Frame, code, flag, kind};

use super::case::{WHOLE, all, case, padded};
use super::peer::{get, post};

const PROTOCOL: u32 = code::PROTOCOL_ERROR;
const SIZE: u32 = code::FRAME_SIZE_ERROR;

fn block() -> Vec<u8> {
    Block::get("/").bytes()
}

#[tokio::test]
async fn data() {
    let padding = |payload: Vec<u8>| Frame::data(1, flag::PADDED | flag::END_STREAM, payload);
    all([
        case("6.1/1 on stream 0").send([Frame::data(0, 0, "x")]).closes(PROTOCOL),
        case("6.1/2 on a stream that is closed")
            .send([get(1, "/")])
            .ended(1)
            .send([Frame::data(1, 0, "x")])
            .resets(1, code::STREAM_CLOSED),
        case("6.1/3 with more padding than there is")
            .send([post(1, "/"), padding(vec![6, 1, 2, 3, 4, 5])])
            .closes(PROTOCOL),
        case("6.1 with as much padding as there is, and no byte else")
            .send([post(1, "/"), padding(vec![5, 0, 0, 0, 0, 0])])
            .answers(1, 200),
        case("6.1 with a padding of 0").send([post(1, "/"), padding(vec![0, b'x'])]).answers(1, 200),
        case("6.1 said to be padded, and empty").send([post(1, "/"), padding(vec![])]).closes(PROTOCOL),
        case("6.1 in parts, padded")
            .send([
                post(1, "/"),
                Frame::data(1, 0, "x"),
                Frame::data(1, flag::PADDED, padded(b"y", 255)),
                Frame::data(1, 0, ""),
                Frame::data(1, flag::END_STREAM, ""),
            ])
            .answers(1, 200),
    ])
    .await;
}

#[tokio::test]
async fn headers() {
    let padding =
        |padding: u8, block: Vec<u8>| Frame::headers(1, WHOLE | flag::PADDED, padded(&block, padding));
    let short = |flags, payload: &[u8]| Frame::headers(1, WHOLE | flags, payload.to_vec());
    all([
        case("6.2/1 without an end, then PRIORITY")
            .send([Frame::headers(1, 1, block()), Frame::priority(1, 0, 0)])
            .closes(PROTOCOL),
        case("6.2/2 without an end, then others'")
            .send([Frame::headers(1, 1, block()), get(3, "/")])
            .closes(PROTOCOL),
        case("6.2/3 on stream 0").send([Frame::headers(0, WHOLE, block())]).closes(PROTOCOL),
        case("6.2/4 with more padding than there is")
            .send([short(flag::PADDED, &[9, 0x82])])
            .closes(PROTOCOL),
        case("6.2 padded").send([padding(255, block())]).answers(1, 200),
        case("6.2 padded and with a priority")
            .send([Frame::headers(
                1,
                WHOLE | flag::PADDED | flag::PRIORITY,
                padded(&[&[0, 0, 0, 0, 1][..], &block()].concat(), 3),
            )])
            .answers(1, 200),
        case("6.2 said to be padded, and empty").send([short(flag::PADDED, &[])]).closes(PROTOCOL),
        case("6.2 said to have a priority, and too short")
            .send([short(flag::PRIORITY, &[0, 0])])
            .closes(SIZE)
            .but_h2_closes(PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn priority_and_rst_stream() {
    let of = |kind, stream, length| Frame::new(kind, 0, stream, vec![0; length]);
    all([
        case("6.3/1 PRIORITY of stream 0").send([Frame::priority(0, 1, 1)]).closes(PROTOCOL),
        // framed_read.rs takes every error of a frame's form for PROTOCOL_ERROR, of the connection.
        case("6.3/2 PRIORITY of four bytes")
            .without_credit()
            .send([get(1, "/"), of(kind::PRIORITY, 1, 4)])
            .resets(1, SIZE)
            .but_h2_closes(PROTOCOL),
        case("6.4/1 RST_STREAM of stream 0").send([Frame::reset(0, 8)]).closes(PROTOCOL),
        case("6.4/2 RST_STREAM of an idle stream").send([Frame::reset(1, 8)]).closes(PROTOCOL),
        case("6.4/3 RST_STREAM of three bytes")
            .without_credit()
            .send([get(1, "/"), of(kind::RST_STREAM, 1, 3)])
            .closes(SIZE)
            .but_h2_closes(PROTOCOL),
        case("6.4 RST_STREAM of five bytes")
            .without_credit()
            .send([get(1, "/"), of(kind::RST_STREAM, 1, 5)])
            .closes(SIZE)
            .but_h2_closes(PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn continuation() {
    let begun = |flags| Frame::headers(1, flags, block());
    let more = |stream, flags| Frame::continuation(stream, flags, Block::new().field("x-more", "1").bytes());
    let bytes = block();
    let apart = bytes.iter().enumerate().map(|(index, byte)| {
        let last = if index + 1 == bytes.len() { flag::END_HEADERS } else { 0 };
        match index {
            0 => Frame::headers(1, flag::END_STREAM | last, vec![*byte]),
            _ => Frame::continuation(1, last, vec![*byte]),
        }
    });
    all([
        case("6.10/1 several").send([begun(1), more(1, 0), more(1, 0), more(1, 4)]).answers(1, 200),
        case("6.10/2 and something else")
            .send([begun(1), more(1, 0), Frame::data(1, 1, "x")])
            .closes(PROTOCOL),
        case("6.10/3 on stream 0").send([begun(1), more(0, 4)]).closes(PROTOCOL),
        case("6.10/4 after a block's end").without_credit().send([begun(WHOLE), more(1, 4)]).closes(PROTOCOL),
        case("6.10/5 after a block's end in CONTINUATION")
            .without_credit()
            .send([begun(1), more(1, 4), more(1, 4)])
            .closes(PROTOCOL),
        case("6.10/6 after DATA").send([post(1, "/"), Frame::data(1, 0, "x"), more(1, 4)]).closes(PROTOCOL),
        case("6.10 empty ones")
            .send([begun(1), Frame::continuation(1, 0, ""), Frame::continuation(1, 4, "")])
            .answers(1, 200),
        // More parts than a head of this size needs are a flood (CVE-2024-27316); five are not.
        case("6.10 a field in many parts")
            .send(apart.clone().take(1))
            .send([
                Frame::continuation(1, 0, bytes[1..9].to_vec()),
                Frame::continuation(1, 0, bytes[9..20].to_vec()),
                Frame::continuation(1, 0, bytes[20..21].to_vec()),
                Frame::continuation(1, 4, bytes[21..].to_vec()),
            ])
            .answers(1, 200),
        case("6.10 every byte on its own").send(apart.clone()).closes(code::ENHANCE_YOUR_CALM),
    ])
    .await;
}
