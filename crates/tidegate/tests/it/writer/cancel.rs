//! Every wait given up at random points: messages arrive whole and in order, and no byte is counted that is not there.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tidegate::writer::{TrySendError, Writers};
use tokio::io::{AsyncReadExt, duplex};

/// Polls at most `times`.
fn some_polls<F: Future>(future: F, times: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..times).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[tokio::test(start_paused = true)]
async fn given_up_anywhere_messages_arrive_whole_and_in_order() {
    for seed in 1..=20 {
        let mut random = Random(seed * 0x9E37_79B9);
        let writers = Writers::new().max_bytes(8 << 10);
        let (io, mut peer) = duplex(512);
        let mut writer = writers.over(io);
        let (mut received, mut number) = (Vec::new(), 0_u64);
        for _ in 0..5000 {
            let text = format!("{number}:{}\n", "m".repeat(random.below(900) as usize));
            let bytes = text.len() as u64;
            let before = writers.stats().accepted;
            // Else tokio would find that this task had its turn, and make it wait for nothing.
            tokio::task::yield_now().await;
            match random.below(5) {
                0 => {
                    let _ = some_polls(writer.send(text), 1 + random.below(2) as u32);
                }
                1 => {
                    if let Some(room) = some_polls(writer.ready(), 1) {
                        room.unwrap().write(text).unwrap().later();
                    }
                }
                2 => {
                    if let Some(room) = some_polls(writer.ready(), 1) {
                        let _ = some_polls(room.unwrap().write(text).unwrap().flushed(), 1);
                    }
                }
                3 => match writer.try_send(text) {
                    Ok(sent) => sent.later(),
                    Err(TrySendError::Full(_)) => {}
                    Err(error) => panic!("{error}"),
                },
                _ => {
                    let _ = some_polls(writer.flush(), 1);
                }
            }
            let accepted = writers.stats().accepted - before;
            assert!(accepted == 0 || accepted == bytes, "all of it or nothing");
            number += u64::from(accepted > 0);
            assert!(writer.pending() <= 8 << 10);
            assert_eq!(writer.buffered(), writers.stats().buffered);
            if random.below(2) == 0 {
                let mut some = vec![0; random.below(700) as usize];
                if let Some(read) = some_polls(peer.read(&mut some), 1) {
                    received.extend_from_slice(&some[..read.unwrap()]);
                }
            }
        }
        let finishing = tokio::spawn(writer.finish());
        peer.read_to_end(&mut received).await.unwrap();
        finishing.await.unwrap().unwrap();
        let lines = String::from_utf8(received).unwrap();
        assert!(number > 100, "{number}");
        assert_eq!(lines.lines().count() as u64, number);
        for (at, line) in lines.lines().enumerate() {
            let (said, rest) = line.split_once(':').unwrap();
            assert_eq!(said, at.to_string());
            assert!(rest.bytes().all(|byte| byte == b'm'));
        }
        assert_eq!(writers.stats().buffered, 0);
    }
}
