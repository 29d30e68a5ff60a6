//! A million random acquisitions, cancels and limit changes on several threads: afterwards exactly the initial
//! capacity is there, and the limit was never passed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use tidegate::limit::Fixed;
use tidegate::{Demand, Limiter, QueueConfig};

const LIMIT: u64 = 7;
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

async fn churn(limiter: Limiter, held: Arc<AtomicU64>, seed: u64, shrink: bool) {
    let mut random = Random(seed);
    for _ in 0..ROUNDS {
        let weight = 1 + random.below(3);
        let mut acquire = pin!(limiter.acquire(Demand::weight(weight)));
        let cancel = random.below(2) == 0;
        let permit = if cancel {
            // Polled once, perhaps left to wait a moment, then dropped wherever it stands.
            let first = acquire.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if random.below(4) == 0 {
                tokio::task::yield_now().await;
            }
            match first {
                std::task::Poll::Ready(result) => result.ok(),
                std::task::Poll::Pending => None,
            }
        } else {
            acquire.await.ok()
        };
        if let Some(permit) = permit {
            let now = held.fetch_add(weight, Ordering::SeqCst) + weight;
            assert!(shrink || now <= LIMIT, "{now} held of {LIMIT}");
            if random.below(8) == 0 {
                tokio::task::yield_now().await;
            }
            held.fetch_sub(weight, Ordering::SeqCst);
            drop(permit);
        }
        if shrink && random.below(50) == 0 {
            limiter.set_limit(1 + random.below(LIMIT));
        }
    }
}

async fn ends_with_all_its_capacity(limiter: Limiter, shrink: bool) {
    let held = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(churn(limiter.clone(), Arc::clone(&held), 0x5eed + task, shrink)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    limiter.set_limit(LIMIT);
    let stats = limiter.stats();
    assert_eq!((stats.in_flight, stats.available, stats.waiting), (0, LIMIT, 0));
    assert!(limiter.holders().is_empty());
    let all: Vec<_> = (0..LIMIT).map(|_| limiter.try_acquire(1).unwrap()).collect();
    assert!(limiter.try_acquire(1).is_err());
    drop(all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_million_random_cancels_leave_exactly_the_capacity() {
    let limiter = Limiter::builder().limit(LIMIT).queue(QueueConfig::bounded(64)).build().unwrap();
    ends_with_all_its_capacity(limiter, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn also_while_the_limit_moves_and_holders_are_tracked() {
    let queue = QueueConfig::bounded(4);
    let limiter = Limiter::builder().algorithm(Fixed::new(LIMIT)).queue(queue).track_occupants(true);
    ends_with_all_its_capacity(limiter.build().unwrap(), true).await;
}
