//! A million sends, reservations and receptions, dropped wherever they stand: afterwards exactly the initial credit is
//! there, every item is accounted for, and nobody was forgotten.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::budget::Budget;
use tidegate::channel::{Config, Receiver, Sender};
use tokio::time::Instant;

use super::{Bag, channel, exactly};

const BYTES: u64 = 64;
const ITEMS: usize = 16;
const TASKS: u64 = 8;
const ROUNDS: u64 = 125_000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Polls a few times with a waker that nobody hears, then drops it if it is not through.
async fn now_or_never<F: Future>(future: F, patience: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=patience {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

async fn churn(sender: Sender<Bag>, sent: Arc<AtomicU64>, seed: u64) {
    let mut random = Random(seed);
    for _ in 0..ROUNDS {
        let weight = if random.below(50) == 0 { BYTES } else { random.below(8) };
        let bag = (0, weight);
        let patience = random.below(3);
        let through = match random.below(5) {
            0 => sender.offer(bag).unwrap().is_accepted(),
            1 => sender.send(bag).await.unwrap().is_accepted(),
            2 => {
                now_or_never(sender.send(bag), patience).await.is_some_and(|sent| sent.unwrap().is_accepted())
            }
            3 => match now_or_never(sender.reserve(weight), patience).await {
                Some(permit) if random.below(2) == 0 => permit.unwrap().send(bag).is_ok(),
                _ => false,
            },
            _ => {
                let mut permit = sender.reserve(weight).await.unwrap();
                permit.shrink_to(random.below(8));
                permit.send(bag).is_ok()
            }
        };
        sent.fetch_add(u64::from(through), Ordering::Relaxed);
    }
}

/// Receives until the end, keeps leases for a while, gives up while it waits.
async fn consume(mut receiver: Receiver<Bag>, seed: u64) -> (Receiver<Bag>, u64) {
    let mut random = Random(seed);
    let mut kept = Vec::new();
    let mut received = 0;
    loop {
        if random.below(4) == 0 {
            drop(now_or_never(receiver.recv(), 0).await.flatten().inspect(|_| received += 1));
            continue;
        }
        // While it sleeps it keeps nothing: somebody may need all of it.
        if receiver.snapshot().items == 0 {
            kept.clear();
        }
        let Some(mut lease) = receiver.recv().await else { return (receiver, received) };
        received += 1;
        if random.below(8) == 0 {
            let part = lease.split(random.below(4));
            tokio::spawn(async move { drop(part) });
        }
        kept.push(lease);
        if kept.len() > random.below(4) as usize {
            kept.clear();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_million_random_cancels_leave_exactly_the_credit() {
    weather(exactly(BYTES).max_items(ITEMS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn and_exactly_the_budget() {
    // Now the channel is what is short, now the budget, which others use as well.
    let process = Budget::new("process", BYTES + 16);
    let ours = process.child("channel").build();
    let others = tokio::spawn(async move {
        loop {
            let lease = process.lease(32).await;
            tokio::task::yield_now().await;
            drop(lease);
            tokio::task::yield_now().await;
        }
    });
    weather(exactly(BYTES).max_items(ITEMS).budget(ours.clone())).await;
    others.abort();
    // A part that another task drops is the channel's again first, and the budget's a moment later.
    tokio::time::timeout(Duration::from_secs(30), async {
        while ours.used() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!((ours.used(), ours.waiting()), (0, 0));
}

async fn weather(config: Config<Bag>) {
    let (sender, receiver) = channel(config);
    let sent = Arc::new(AtomicU64::new(0));
    let producers: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(churn(sender.clone(), Arc::clone(&sent), 0x5eed + task)))
        .collect();
    let consumer = tokio::spawn(consume(receiver, 0xbe1));
    // At every moment the sums are right; and nobody sleeps for ever: something moves in every half minute, however busy the
    // machine.
    let (mut before, mut moved) = (0, Instant::now());
    while producers.iter().any(|producer| !producer.is_finished()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = sender.snapshot();
        assert_eq!(now.queued_bytes + now.reserved_bytes + now.leased_bytes + now.free, BYTES, "{now:?}");
        assert!(now.items + now.reserved_items + now.leased_items <= ITEMS, "{now:?}");
        assert_eq!(now.tally.accepted, now.tally.delivered + now.items as u64, "{now:?}");
        let held: u64 = now.borrowers.iter().map(|borrower| borrower.bytes).sum();
        assert_eq!(held + now.free, BYTES, "{now:?}");
        if now.tally.delivered != before {
            (before, moved) = (now.tally.delivered, Instant::now());
        }
        assert!(moved.elapsed() < Duration::from_secs(30), "somebody was forgotten: {now:?}");
    }
    for producer in producers {
        producer.await.unwrap();
    }
    let last = sender.tagged("last");
    drop(sender);
    drop(last);
    let (receiver, received) = consumer.await.unwrap();
    while receiver.snapshot().leased_bytes > 0 {
        tokio::task::yield_now().await; // parts that other tasks hold
    }
    let seen = receiver.snapshot();
    assert_eq!((seen.free, seen.reserved_items, seen.leased_items, seen.items), (BYTES, 0, 0, 0));
    assert_eq!((seen.waiters, seen.waiting_bytes, seen.borrowers.len()), (0, 0, 0));
    assert_eq!(received, sent.load(Ordering::Relaxed));
    assert_eq!((seen.tally.accepted, seen.tally.delivered), (received, received));
    assert!(seen.tally.canceled > 0, "nothing was cancelled");
}
