//! What is held is charged to a budget, exactly and no longer than it is held.

use std::time::Duration;

use tidegate::Reason;
use tidegate::budget::Budget;
use tidegate::writer::broadcast::{Broadcast, Event, Policy, Terms, Why};
use tidegate::writer::{LineError, LineReader, TrySendError, WriteError, Writers};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn a_writer_is_charged_for_what_it_holds() {
    let budget = Budget::new("test", 1 << 20);
    let (io, mut peer) = duplex(1000);
    let mut writer = Writers::new().budget(budget.clone()).over(io);
    let room = writer.ready().await.unwrap();
    assert_eq!(budget.used(), room.bytes(), "room is good for what it says");
    room.write(vec![0; 3000]).unwrap().later();
    assert_eq!((writer.buffered(), budget.used()), (3000, 3000));
    assert!(timeout(Duration::from_secs(1), writer.flush()).await.is_err());
    assert_eq!((writer.buffered(), budget.used()), (2000, 2000));
    drop(writer.ready().await.unwrap());
    assert_eq!(budget.used(), 2000);
    writer.try_send("123").unwrap().later();
    assert_eq!(budget.used(), 2003);
    let reading = tokio::spawn(async move { peer.read_to_end(&mut Vec::new()).await.unwrap() });
    writer.flush().await.unwrap();
    assert_eq!(budget.used(), 0);
    writer.finish().await.unwrap();
    assert_eq!(reading.await.unwrap(), 3003);
}

#[tokio::test(start_paused = true)]
async fn writers_wait_for_each_others_bytes_and_none_gets_stuck() {
    // Room for a single room, and ten writers that leave bytes lying.
    let writers = Writers::new().max_bytes(8 << 10).budget(Budget::new("test", 4 << 10));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (io, mut peer) = duplex(512);
        let mut writer = writers.over(io);
        tasks.spawn(async move {
            let reading = tokio::spawn(async move { peer.read_to_end(&mut Vec::new()).await.unwrap() });
            for _ in 0..50 {
                writer.ready().await.unwrap().write(vec![0; 300]).unwrap().later();
            }
            writer.finish().await.unwrap();
            reading.await.unwrap()
        });
    }
    assert_eq!(tasks.join_all().await, [15_000; 10]);
    assert_eq!(writers.stats().buffered, 0);
}

#[tokio::test(start_paused = true)]
async fn without_bytes_nothing_is_accepted_and_one_hears_so_in_time() {
    let budget = Budget::new("test", 40_000);
    let all = budget.try_lease(40_000).unwrap();
    let (io, mut peer) = duplex(1000);
    let writers = Writers::new().budget(budget.clone());
    let mut writer = writers.over(io);
    let Err(WriteError::Memory(full)) = writer.send("x").await else { panic!("no bytes") };
    assert_eq!(full.reason, Reason::Expired);
    let Err(TrySendError::Full(back)) = writer.try_send("x") else { panic!("no bytes") };
    assert_eq!(back, "x");
    assert_eq!(writers.stats().accepted, 0);
    drop(all);
    writer.send("then").await.unwrap();
    writer.finish().await.unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).await.unwrap();
    assert_eq!((text.as_str(), budget.used()), ("then", 0));
    // What could never be had is refused at once.
    let mut writer = Writers::new().budget(Budget::new("tiny", 10)).over(duplex(1).0);
    let Err(WriteError::Memory(full)) = writer.ready().await else { panic!("too much") };
    assert!(!full.ever);
}

#[tokio::test(start_paused = true)]
async fn shares_and_unfinished_writers_give_everything_back() {
    let budget = Budget::new("test", 1 << 20);
    let writers = Writers::new().budget(budget.clone());
    let (io, _peer) = duplex(100);
    let mut shares = writers.over(io).share(4);
    for share in &mut shares {
        share.ready().await.unwrap().write(vec![0; 700]).unwrap().later();
    }
    assert_eq!(budget.used(), 2800);
    assert!(timeout(Duration::from_secs(1), shares[0].flush()).await.is_err());
    assert_eq!((budget.used(), writers.stats().buffered), (2700, 2700));
    assert!(timeout(Duration::from_secs(1), shares[1].send("x")).await.is_err());
    assert_eq!((budget.used(), writers.stats().buffered), (2700, 2700));
    shares.pop();
    drop(shares);
    assert_eq!((budget.used(), writers.stats().buffered), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_line_reader_is_charged_for_its_buffer() {
    let budget = Budget::new("test", 10_000);
    let (mut io, peer) = duplex(1 << 20);
    let mut lines = LineReader::new(peer).budget(budget.clone());
    io.write_all(format!("short\n{}\nshort\n", "x".repeat(8000)).as_bytes()).await.unwrap();
    assert_eq!(lines.read_line(8500).await.unwrap().unwrap().len(), 5);
    assert_eq!((budget.used(), lines.held()), (4096, 4096));
    assert_eq!(lines.read_line(8500).await.unwrap().unwrap().len(), 8000);
    assert_eq!(budget.used(), lines.held());
    assert!((8001..=8502).contains(&budget.used()), "{}", budget.used());
    assert_eq!(lines.read_line(8500).await.unwrap().unwrap().len(), 5);
    assert!(timeout(Duration::from_secs(1), lines.read_line(8500)).await.is_err());
    assert_eq!((budget.used(), lines.held()), (4096, 4096));
    // And waits for no more than its patience.
    let others = budget.try_lease(5000).unwrap();
    io.write_all("y".repeat(8000).as_bytes()).await.unwrap();
    assert!(matches!(lines.read_line(8500).await, Err(LineError::Memory(_))));
    drop(others);
    io.write_all(b"\n").await.unwrap();
    assert_eq!(lines.read_line(8500).await.unwrap().unwrap().len(), 8000, "what was read is kept");
    drop(lines);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn an_item_is_charged_once_until_the_last_dropped_it() {
    let budget = Budget::new("test", 5000);
    let mut broadcast = Broadcast::builder("test").budget(budget.clone()).build();
    let audience = broadcast.audience();
    let mut subscribers: Vec<_> =
        (0..20).map(|_| audience.subscribe(Terms::new(Policy::DropOldest).max_items(2)).unwrap()).collect();
    broadcast.publish(vec![0_u8; 1000]).await.unwrap();
    let one = budget.used();
    assert!((1000..1200).contains(&one), "{one}");
    for _ in 0..10 {
        broadcast.publish(vec![0_u8; 1000]).await.unwrap();
    }
    assert_eq!(budget.used(), 2 * one);
    let mut held = Vec::new();
    for subscriber in &mut subscribers {
        while let Some(event) = at_once(subscriber.recv()) {
            if let Event::Item(item) = event {
                held.push(bytes::Bytes::from(item));
            }
        }
    }
    assert_eq!((held.len(), budget.used()), (40, 2 * one), "also as bytes");
    // Whoever keeps what it has leaves none for others.
    broadcast.publish(vec![0_u8; 1000]).await.unwrap();
    broadcast.publish(vec![0_u8; 1000]).await.unwrap();
    let none = broadcast.publish(vec![0_u8; 1000]).await.unwrap_err();
    assert!(matches!(none.why, Why::Memory(_)));
    assert_eq!(none.item.len(), 1000);
    held.clear();
    assert_eq!(budget.used(), 2 * one);
    drop((broadcast, subscribers));
    assert_eq!(budget.used(), 0);
}

/// What comes without waiting.
fn at_once<T>(recv: impl Future<Output = Result<Option<T>, tidegate::writer::broadcast::Cut>>) -> Option<T> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(recv).poll(&mut cx) {
        std::task::Poll::Ready(event) => event.unwrap(),
        std::task::Poll::Pending => None,
    }
}
