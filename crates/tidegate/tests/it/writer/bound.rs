//! No more than the bound is ever held, and nobody writes without room.

use std::time::Duration;

use bytes::Bytes;
use tidegate::writer::{TrySendError, WriteError, Writer, Writers};
use tokio::io::{AsyncReadExt, duplex};
use tokio::time::timeout;

const MAX: u64 = 16 << 10;
const ROOM: u64 = MAX / 2;

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_stops_the_writer_at_its_bound() {
    let (io, _peer) = duplex(1000);
    let writers = Writers::new().max_bytes(MAX);
    let mut writer = writers.over(io);
    let mut accepted = 0;
    while let Ok(room) = timeout(Duration::from_secs(1), writer.ready()).await {
        let room = room.unwrap();
        assert_eq!(room.bytes(), ROOM);
        room.write(vec![1; 3000]).unwrap().later();
        accepted += 3000;
        assert!(writer.pending() <= MAX, "{}", writer.pending());
    }
    assert!(accepted > ROOM, "{accepted}");
    assert_eq!(writer.pending(), accepted - 1000, "all but what the pipe took");
    assert_eq!(writers.stats().buffered, writer.buffered());
    assert!(timeout(Duration::from_secs(1), writer.send("x")).await.is_err(), "it waits");
    let Err(TrySendError::Full(back)) = writer.try_send("not now") else { panic!("there is no room") };
    assert_eq!(back, "not now");
}

#[tokio::test]
async fn room_comes_back_when_the_peer_reads() {
    let (io, mut peer) = duplex(1000);
    let mut writer = Writers::new().max_bytes(MAX).over(io);
    while writer.try_send(vec![1; 2000]).map(tidegate::writer::Sent::later).is_ok() {}
    let held = writer.pending();
    assert!(held > ROOM && held <= MAX, "{held}");
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        all.len() as u64
    });
    writer.ready().await.unwrap().write("x").unwrap().flushed().await.unwrap();
    assert_eq!(writer.pending(), 0);
    writer.finish().await.unwrap();
    assert_eq!(reading.await.unwrap(), 1000 + held + 1);
}

#[tokio::test]
async fn more_than_a_room_is_refused_whole_and_given_back() {
    let (io, mut peer) = duplex(1 << 20);
    let mut writer = Writers::new().max_bytes(MAX).over(io);
    let large = Bytes::from(vec![1; ROOM as usize + 1]);
    let Err(WriteError::TooLarge(refused)) = writer.send(large.clone()).await else { panic!("too large") };
    assert_eq!((refused.offered, refused.room, refused.bytes.len()), (ROOM + 1, ROOM, large.len()));
    let refused = writer.ready().await.unwrap().write(large.clone()).unwrap_err();
    assert_eq!(refused.bytes, large);
    assert!(matches!(writer.try_send(large), Err(TrySendError::Failed(WriteError::TooLarge(_)))));
    // The writer is as it was.
    writer.send("after").await.unwrap();
    writer.finish().await.unwrap();
    let mut all = String::new();
    peer.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "after");
}

#[tokio::test]
async fn what_is_larger_goes_a_room_at_a_time() {
    let (io, mut peer) = duplex(100);
    let mut writer = Writers::new().max_bytes(MAX).over(io);
    let large: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        all
    });
    let mut left = Bytes::from(large.clone());
    writer.send_all(&mut left).await.unwrap();
    assert!(left.is_empty());
    writer.finish().await.unwrap();
    assert_eq!(reading.await.unwrap(), large);
}

#[tokio::test]
async fn pieces_are_accepted_all_or_none() {
    let (io, mut peer) = duplex(1 << 20);
    let mut writer = Writers::new().max_bytes(MAX).over(io);
    let half = Bytes::from(vec![b'x'; ROOM as usize / 2 + 1]);
    let refused = writer.ready().await.unwrap().write_pieces([half.clone(), half.clone()]).unwrap_err();
    assert_eq!(refused.offered, ROOM + 2);
    let some = [Bytes::from_static(b"a"), Bytes::new(), half.clone(), Bytes::from_static(b"b")];
    writer.ready().await.unwrap().write_pieces(some).unwrap().later();
    let io = writer.finish().await.unwrap();
    drop(io);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, [b"a", half.as_ref(), b"b"].concat());
}

#[tokio::test]
async fn dropped_room_and_dropped_bytes_write_nothing() {
    let (io, mut peer) = duplex(100);
    let mut writer = Writer::over(io);
    drop(writer.ready().await.unwrap());
    writer.ready().await.unwrap().write("").unwrap().flushed().await.unwrap();
    writer.send("all").await.unwrap();
    drop(writer.finish().await.unwrap());
    let mut all = String::new();
    peer.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "all");
}

#[tokio::test]
async fn a_failed_connection_says_so_once_and_then_that_it_ended() {
    let (io, peer) = duplex(100);
    let writers = Writers::new();
    let mut writer = writers.over(io);
    drop(peer);
    assert!(matches!(writer.send("x").await, Err(WriteError::Io(_))));
    assert!(matches!(writer.ready().await, Err(WriteError::Ended)));
    assert!(matches!(writer.try_send("x"), Err(TrySendError::Failed(WriteError::Ended))));
    assert!(writer.get_ref().is_none());
    assert!(matches!(writer.finish().await, Err(WriteError::Ended)));
    let stats = writers.stats();
    assert_eq!((stats.failed, stats.aborted, stats.finished, stats.open()), (1, 0, 0, 0));
    assert_eq!(stats.buffered, 0);
}

#[tokio::test(start_paused = true)]
async fn a_finish_that_is_given_up_is_none() {
    let writers = Writers::new();
    let (io, mut peer) = duplex(10);
    let mut writer = writers.over(io);
    writer.try_send("more than goes out").unwrap().later();
    assert!(timeout(Duration::from_secs(1), writer.finish()).await.is_err());
    let stats = writers.stats();
    assert_eq!((stats.finished, stats.aborted, stats.buffered), (0, 1, 0));
    let mut part = String::new();
    peer.read_to_string(&mut part).await.unwrap();
    assert_eq!(part, "more than ");
}

#[tokio::test]
async fn every_end_is_counted_once() {
    let writers = Writers::new();
    let writer = || writers.over(duplex(10).0);
    drop(writer());
    writer().abort();
    let (io, _peer) = duplex(10);
    writers.over(io).finish().await.unwrap();
    let unfinished = {
        let (io, _peer) = duplex(10);
        let mut writer = writers.over(io);
        writer.try_send("more than goes out").unwrap().later();
        assert_eq!(writers.stats().open(), 1);
        writer
    };
    drop(unfinished);
    let stats = writers.stats();
    assert_eq!((stats.opened, stats.aborted, stats.finished, stats.open()), (4, 3, 1, 0));
    assert_eq!((stats.accepted, stats.buffered), (18, 0));
}
