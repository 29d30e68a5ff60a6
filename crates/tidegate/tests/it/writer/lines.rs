//! Lines in and out.

use std::time::Duration;

use proptest::prelude::*;
use tidegate::writer::{
    LineError, LineReader, LineWriter, NotALine, OverLong, TrySendError, WriteError, Writers,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::timeout;

#[tokio::test]
async fn lines_of_both_ends_are_read() {
    let mut lines = LineReader::new(&b"one\r\ntwo\n\n\r\nfive \r six\n"[..]);
    for expected in ["one", "two", "", "", "five \r six"] {
        assert_eq!(lines.read_line(20).await.unwrap().unwrap().as_str().unwrap(), expected);
    }
    assert!(lines.read_line(20).await.unwrap().is_none());
    assert!(lines.read_line(20).await.unwrap().is_none());
}

#[tokio::test]
async fn a_line_exactly_as_long_as_asked_for_is_one() {
    for text in ["12345\n", "12345\r\n"] {
        let line = LineReader::new(text.as_bytes()).read_line(5).await.unwrap().unwrap().into_bytes();
        assert_eq!(line, "12345");
        let error = LineReader::new(text.as_bytes()).read_line(4).await.unwrap_err();
        assert!(matches!(error, LineError::TooLong { max: 4, .. }), "{error:?}");
    }
    let mut none = LineReader::new(&b"\n1\n"[..]);
    assert!(none.read_line(0).await.unwrap().unwrap().is_empty());
    assert!(matches!(none.read_line(0).await, Err(LineError::TooLong { .. })));
}

#[tokio::test]
async fn after_a_line_that_is_too_long_nothing_is_read_unless_it_is_skipped() {
    let text = format!("{}\nnext\n", "x".repeat(100_000));
    let mut lines = LineReader::new(text.as_bytes());
    assert!(matches!(lines.read_line(10).await, Err(LineError::TooLong { max: 10, .. })));
    assert!(matches!(lines.read_line(10).await, Err(LineError::Ended)));
    assert!(lines.held() <= 4096);

    let mut lines = LineReader::new(text.as_bytes()).over_long(OverLong::Skip { at_most: 1 << 20 });
    assert!(matches!(lines.read_line(10).await, Err(LineError::TooLong { max: 10, skipped: 100_001 })));
    assert_eq!(lines.read_line(10).await.unwrap().unwrap().into_bytes(), "next");
    assert!(lines.held() <= 4096, "{}", lines.held());

    // Without an end it is no line.
    let mut lines = LineReader::new(tokio::io::repeat(b'x')).over_long(OverLong::Skip { at_most: 1 << 20 });
    assert!(matches!(lines.read_line(10).await, Err(LineError::TooLong { .. })));
    assert!(matches!(lines.read_line(10).await, Err(LineError::Ended)));
}

#[tokio::test]
async fn half_a_line_is_no_line() {
    let mut lines = LineReader::new(&b"DELETE /bag/a\nDELETE /bag"[..]);
    assert_eq!(lines.read_line(100).await.unwrap().unwrap().into_bytes(), "DELETE /bag/a");
    assert!(matches!(lines.read_line(100).await, Err(LineError::Cut { bytes: 11 })));
    assert_eq!(lines.rest(), b"DELETE /bag");
    assert_eq!(lines.into_parts().1, "DELETE /bag");
}

#[tokio::test]
async fn nothing_is_read_while_a_line_is_in_hand() {
    let (mut io, peer) = duplex(16 << 10);
    let mut lines = LineReader::new(peer);
    io.write_all(&b"short\n".repeat(2000)).await.unwrap();
    let line = lines.read_line(80).await.unwrap().unwrap();
    // The pipe has room for what was read, one buffer, and no more.
    let mut more = 0;
    while timeout(Duration::from_millis(1), io.write_all(b"x")).await.is_ok() {
        more += 1;
    }
    assert_eq!(more, (16 << 10) - 12_000 + 4096);
    drop(line);
    assert!(lines.held() <= 4096);
}

#[tokio::test]
async fn given_up_in_the_middle_it_keeps_what_it_read() {
    let (mut io, peer) = duplex(100);
    let mut lines = LineReader::new(peer);
    for part in ["a li", "ne in ", "parts"] {
        io.write_all(part.as_bytes()).await.unwrap();
        assert!(timeout(Duration::from_millis(1), lines.read_line(80)).await.is_err());
    }
    io.write_all(b"\n").await.unwrap();
    assert_eq!(lines.read_line(80).await.unwrap().unwrap().into_bytes(), "a line in parts");
}

#[tokio::test]
async fn what_is_written_is_one_line_each() {
    let (io, mut peer) = duplex(1 << 20);
    let mut lines = LineWriter::new(Writers::new().over(io), 10);
    lines.send("first").await.unwrap();
    let refused = lines.send("a\nb").await.unwrap_err();
    assert!(matches!(refused, WriteError::NotALine(NotALine::Breaks { at: 1 })), "{refused:?}");
    assert!(matches!(lines.try_send("\r"), Err(TrySendError::Failed(WriteError::NotALine(_)))));
    let refused = lines.ready().await.unwrap().write("eleven chars").unwrap_err();
    assert_eq!(refused, NotALine::TooLong { bytes: 12, max: 10 });
    lines.ready().await.unwrap().write("").unwrap().later();
    lines.try_send("0123456789").unwrap().later();
    lines.finish().await.unwrap();
    let mut all = String::new();
    peer.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "first\n\n0123456789\n");
}

#[tokio::test]
async fn the_longest_line_has_room() {
    let lines = LineWriter::new(Writers::new().max_bytes(8 << 10).over(duplex(1).0), u64::MAX);
    assert_eq!(lines.max_line(), (4 << 10) - 1);
}

/// The plain way: all of it at once, and then line by line.
fn naive(text: &[u8], max: usize) -> Vec<Option<Vec<u8>>> {
    let whole = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    whole
        .map(|line| {
            let line = &line[..line.len() - 1];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (line.len() <= max).then(|| line.to_vec())
        })
        .collect()
}

proptest! {
    #[test]
    fn it_reads_what_the_plain_way_reads(
        text in proptest::collection::vec(prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => Just(b'\r')], 0..300),
        max in 0_usize..12, pipe in 1_usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(async {
            let (mut io, peer) = duplex(pipe);
            let given = text.clone();
            let writing = tokio::spawn(async move { io.write_all(&given).await });
            let mut lines = LineReader::new(peer).over_long(OverLong::Skip { at_most: 1 << 20 });
            let mut read = Vec::new();
            loop {
                match lines.read_line(max as u64).await {
                    Ok(Some(line)) => read.push(Some(line.to_vec())),
                    Err(LineError::TooLong { .. }) => read.push(None),
                    Ok(None) | Err(LineError::Cut { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            let _ = writing.await;
            read
        });
        prop_assert_eq!(read, naive(&text, max));
    }
}
