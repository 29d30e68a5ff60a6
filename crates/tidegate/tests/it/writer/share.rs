//! One writer for several tasks.

use std::time::Duration;

use tidegate::writer::{Share, TrySendError, WriteError, Writer, Writers};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn pieces_of_different_handles_never_mix() {
    let (io, mut peer) = duplex(7);
    let mut tasks = tokio::task::JoinSet::new();
    for (number, mut share) in Writers::new().over(io).share(8).into_iter().enumerate() {
        tasks.spawn(async move {
            for line in 0..200 {
                let text = format!("{number} {line} {}\n", "x".repeat(line % 50));
                match line % 3 {
                    0 => share.send(text).await.unwrap(),
                    1 => share.ready().await.unwrap().write(text).unwrap().later(),
                    _ => {
                        // Given up at some point within it, or not.
                        let _ = timeout(Duration::from_micros(line as u64), share.flush()).await;
                        share.ready().await.unwrap().write(text).unwrap().flushed().await.unwrap();
                    }
                }
            }
            share.finish().await.unwrap()
        });
    }
    let mut all = String::new();
    peer.read_to_string(&mut all).await.unwrap();
    let ended = tasks.join_all().await;
    assert_eq!(ended.iter().filter(|io| io.is_some()).count(), 1, "the last gets the connection back");
    let mut next = [0; 8];
    for line in all.lines() {
        let mut words = line.splitn(3, ' ');
        let number: usize = words.next().unwrap().parse().unwrap();
        let at: usize = words.next().unwrap().parse().unwrap();
        assert_eq!(at, next[number], "in the handle's order");
        assert_eq!(words.next().unwrap(), "x".repeat(at % 50));
        next[number] += 1;
    }
    assert_eq!(next, [200; 8]);
}

fn shares(writers: &Writers, n: usize) -> (Vec<Share<DuplexStream>>, DuplexStream) {
    let (io, peer) = duplex(100);
    (writers.over(io).share(n), peer)
}

#[tokio::test(start_paused = true)]
async fn together_they_hold_no_more_than_the_writer_did() {
    let writers = Writers::new().max_bytes(16 << 10);
    let (mut handles, _peer) = shares(&writers, 4);
    for _ in 0..10 {
        for share in &mut handles {
            assert_eq!(share.room_bytes(), 2 << 10);
            if let Ok(room) = timeout(Duration::from_millis(1), share.ready()).await {
                room.unwrap().write(vec![0; 2 << 10]).unwrap().later();
            }
            assert!(writers.stats().buffered <= 16 << 10, "{:?}", writers.stats());
        }
    }
    assert!(writers.stats().buffered > 8 << 10);
    let refused = handles[0].send(vec![0; (2 << 10) + 1]).await.unwrap_err();
    assert!(matches!(refused, WriteError::TooLarge(_)));
    assert!(matches!(handles[0].try_send("x"), Err(TrySendError::Full(_))));
    drop(handles);
    let stats = writers.stats();
    assert_eq!((stats.buffered, stats.aborted), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn holding_room_keeps_nobody_from_writing() {
    let writers = Writers::new();
    let (mut handles, mut peer) = shares(&writers, 2);
    let mut other = handles.pop().unwrap();
    let mut one = handles.pop().unwrap();
    let room = one.ready().await.unwrap();
    timeout(Duration::from_secs(1), other.send("other ")).await.unwrap().unwrap();
    room.write("one").unwrap().later();
    assert!(one.finish().await.unwrap().is_none());
    assert!(other.finish().await.unwrap().is_some());
    let mut all = String::new();
    peer.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "other one");
}

#[tokio::test(start_paused = true)]
async fn a_handle_dropped_unfinished_ends_it_for_all_at_once() {
    let writers = Writers::new();
    let (mut handles, mut peer) = shares(&writers, 3);
    let mut pushing = handles.pop().unwrap();
    let pushes = tokio::spawn(async move { pushing.send(vec![0; 5000]).await });
    sleep(Duration::from_secs(1)).await;
    drop(handles.pop());
    let told = timeout(Duration::from_secs(1), pushes).await.unwrap().unwrap();
    assert!(matches!(told, Err(WriteError::Ended)), "{told:?}");
    assert!(matches!(handles[0].ready().await, Err(WriteError::Ended)));
    // The connection itself has gone, although a handle lives.
    let mut all = Vec::new();
    timeout(Duration::from_secs(1), peer.read_to_end(&mut all)).await.unwrap().unwrap();
    assert_eq!(writers.stats().aborted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_turn_leaves_its_rest_to_the_next() {
    let (mut handles, mut peer) = shares(&Writers::new(), 2);
    let mut other = handles.pop().unwrap();
    let mut one = handles.pop().unwrap();
    assert!(timeout(Duration::from_secs(1), one.send("1".repeat(150))).await.is_err());
    let reading = tokio::spawn(async move {
        let mut all = String::new();
        peer.read_to_string(&mut all).await.unwrap();
        all
    });
    other.send("2").await.unwrap();
    one.finish().await.unwrap();
    other.finish().await.unwrap();
    assert_eq!(reading.await.unwrap(), "1".repeat(150) + "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whenever_a_handle_breaks_off_the_connection_goes() {
    for round in 0..300_u64 {
        let writers = Writers::new();
        let (mut handles, mut peer) = shares(&writers, 4);
        let leaves = handles.pop().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for mut share in handles {
            tasks.spawn(async move {
                while share.send("0123456789").await.is_ok() {}
                share // kept: it is not their drop that ends it
            });
        }
        tasks.spawn(async move {
            for _ in 0..round % 40 {
                tokio::task::yield_now().await;
            }
            drop(leaves);
            std::future::pending().await
        });
        let mut all = Vec::new();
        let ended = timeout(Duration::from_secs(30), peer.read_to_end(&mut all)).await;
        assert!(ended.is_ok(), "round {round}: it goes on");
        assert_eq!(writers.stats().aborted, 1);
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        assert_eq!(writers.stats().buffered, 0);
    }
}

#[tokio::test]
async fn the_number_of_handles_is_bounded() {
    assert_eq!(Writer::over(duplex(1).0).share(0).len(), 1);
    let many = Writer::over(duplex(1).0).share(usize::MAX);
    assert_eq!(many.len(), Writer::<DuplexStream>::MAX_SHARES);
    assert_eq!(many[0].room_bytes(), 32);
}
