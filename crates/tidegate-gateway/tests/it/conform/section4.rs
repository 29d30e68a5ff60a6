//! RFC 9113 §§3.4, 4: the preface, the form of frames, their size, header blocks.

use tidegate_lab::frames::{Block, Frame, PREFACE, code, flag, kind};

use super::case::{WHOLE, all, case, padded};
use super::peer::{Peer, post};
use crate::stand::Stand;

#[tokio::test]
async fn the_preface_is_the_one_of_http2() {
    let stand = Stand::new("").await;
    // 3.4: another last line. HTTP/1 answers it, as `attack` shows; nothing is taken for a frame.
    let mut peer = Peer::silent(&stand).await;
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX").await;
    assert!(peer.closed().await && peer.settings.is_empty());
    // 3.4: the whole of it in pieces.
    let mut peer = Peer::silent(&stand).await;
    for byte in PREFACE {
        peer.send(&[*byte]).await;
    }
    peer.frames([Frame::settings(&[])]).await;
    assert!(peer.alive().await);
}

#[tokio::test]
async fn frames_have_a_form() {
    let unknown = |stream| Frame::new(0x16, 0xff, stream, vec![0; 8]);
    let flagged = Frame::new(kind::PING, 0x16, 0, vec![1; 8]);
    let reserved = Frame::new(kind::PING, 0, 1 << 31, vec![2; 8]);
    all([
        case("4.1/1 a frame of unknown type is ignored").send([unknown(0), unknown(1)]).lives(),
        case("4.1/2 undefined flags are ignored").send([flagged]).lives(),
        case("4.1/3 the reserved bit is ignored").send([reserved]).lives(),
        case("4.1 undefined flags of HEADERS are ignored")
            .send([Frame::headers(
                1,
                WHOLE | 0xd2 & !flag::PADDED & !flag::PRIORITY,
                Block::get("/").bytes(),
            )])
            .answers(1, 200),
    ])
    .await;
}

#[tokio::test]
async fn frames_have_a_size() {
    let data = |size| Frame::data(1, flag::END_STREAM, vec![b'x'; size]);
    let large = |name: &str| Block::get("/").field(name, &"x".repeat(16_384)).bytes();
    all([
        case("4.2/1 DATA of 2^14 bytes").send([post(1, "/"), data(16_384)]).answers(1, 200),
        case("4.2/1 DATA of 2^14 bytes, padding included")
            .send([post(1, "/"), Frame::data(1, 9, padded(&vec![b'x'; 16_383 - 255], 255))])
            .answers(1, 200),
        case("4.2/2 DATA above the maximum")
            .send([post(1, "/"), data(16_385)])
            .closes(code::FRAME_SIZE_ERROR),
        case("4.2/3 HEADERS above the maximum")
            .send([Frame::headers(1, WHOLE, large("x-large"))])
            .closes(code::FRAME_SIZE_ERROR),
        case("4.2 SETTINGS above the maximum")
            .send([Frame::settings(&[(0x77, 1); 2731])])
            .closes(code::FRAME_SIZE_ERROR),
        case("4.2 the largest length that can be written")
            .send([Frame::new(0x16, 0, 0, vec![0; (1 << 24) - 1])])
            .closes(code::FRAME_SIZE_ERROR),
        case("4.2 an unknown frame above the maximum, of which only the head comes")
            .send([Frame::new(0x16, 0, 0, vec![0; 16_385])])
            .closes(code::FRAME_SIZE_ERROR),
    ])
    .await;
}

#[tokio::test]
async fn header_blocks_come_whole() {
    let open = |stream, end| Frame::headers(stream, end, Block::get("/").bytes());
    let more = Block::new().field("x-more", "1").bytes();
    let broken = |bytes: &[u8]| Frame::headers(1, WHOLE, Block::get("/").raw(bytes).bytes());
    let compression = |name, bytes: &[u8]| case(name).send([broken(bytes)]).closes(code::COMPRESSION_ERROR);
    // framed_read.rs takes every error of HPACK for PROTOCOL_ERROR.
    let h2 = code::PROTOCOL_ERROR;
    all([
        case("4.3/1 a literal that ends early")
            .send([broken(&[0x40])])
            .closes(code::COMPRESSION_ERROR)
            .but_h2_closes(h2),
        case("4.3/2 PRIORITY inside of a block")
            .send([open(1, 1), Frame::priority(1, 0, 1)])
            .closes(code::PROTOCOL_ERROR),
        case("4.3/3 HEADERS of another stream inside of a block")
            .send([open(1, 1), open(3, WHOLE)])
            .closes(code::PROTOCOL_ERROR),
        case("4.3 DATA inside of a block")
            .send([open(1, 0), Frame::data(1, 0, "x")])
            .closes(code::PROTOCOL_ERROR),
        case("4.3 PING inside of a block")
            .send([open(1, 1), Frame::ping([0; 8])])
            .closes(code::PROTOCOL_ERROR),
        case("4.3 CONTINUATION of another stream")
            .send([open(1, 1), Frame::continuation(3, 4, more.clone())])
            .closes(code::PROTOCOL_ERROR),
        compression("7541 2.3.3 an index beyond the tables", &[0xff, 0x80, 0x01]).but_h2_closes(h2),
        compression("7541 6.1 the index 0", &[0x80]).but_h2_closes(h2),
        compression("7541 4.2 a change of the table's size at a block's end", &[0x20]).but_h2_closes(h2),
        compression(
            "7541 5.2 padding of Huffman's code of more than 7 bits",
            &[0, 1, b'a', 0x82, 0x1f, 0xff],
        )
        .but_h2_closes(h2),
        compression("7541 5.2 padding of Huffman's code with zeros", &[0, 1, b'a', 0x81, 0x18])
            .but_h2_closes(h2),
        compression(
            "7541 5.2 the end of string in Huffman's code",
            &[0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff],
        )
        .but_h2_closes(h2),
        compression("7541 5.1 an integer of more than 32 bits", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])
            .but_h2_closes(h2),
        case("7541 6.3 a larger table than was allowed")
            .send([Frame::headers(1, WHOLE, [&[0x3f, 0xe2, 0x1f][..], &Block::get("/").bytes()].concat())])
            .closes(code::COMPRESSION_ERROR)
            .but_h2_closes(h2),
        case("7541 6.3 a smaller table, at a block's begin")
            .send([Frame::headers(1, WHOLE, [&[0x20][..], &Block::get("/").bytes()].concat())])
            .answers(1, 200),
        case("7541 6 fields of the static table, indexed and literal")
            .send([Frame::headers(
                1,
                WHOLE,
                b"\x82\x86\x84\x41\x09a.example\x40\x03x-a\x01b\xbe\x10\x03x-c\x01d".to_vec(),
            )])
            .answers(1, 200),
    ])
    .await;
}
