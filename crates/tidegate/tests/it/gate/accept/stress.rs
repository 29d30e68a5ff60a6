//! `accept()` dropped at random moments: every connection arrives once, and all permits are there at the end.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::gate::accept::{Accept, Accepted};
use tidegate::{Limiter, QueueConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const CLIENTS: u32 = 2000;
const AT_ONCE: u32 = 50;
const LIMIT: u64 = 5;

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Polls `accept()` a random number of times, from no waker or a real one, and drops it wherever it stands.
async fn maybe(accept: &Accept, seed: &mut u64) -> Option<Accepted<TcpListener>> {
    let mut next = pin!(accept.accept());
    match random(seed) % 4 {
        0 => timeout(Duration::from_micros(random(seed) % 2000), next).await.ok()?.ok(),
        1 => next.await.ok(),
        polls => {
            for _ in 0..polls {
                if let Poll::Ready(next) = next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return next.ok();
                }
                tokio::task::yield_now().await;
            }
            None
        }
    }
}

async fn serve(accept: Arc<Accept>, pool: Limiter, heard: Arc<Mutex<HashSet<u32>>>, mut seed: u64) {
    while heard.lock().unwrap().len() < CLIENTS as usize {
        let next = timeout(Duration::from_millis(20), maybe(&accept, &mut seed)).await;
        let Ok(Some(mut next)) = next else { continue };
        assert!(accept.connections().stats().in_flight <= LIMIT * 2, "limit and queue of the pool");
        let (pool, heard) = (pool.clone(), Arc::clone(&heard));
        tokio::spawn(async move {
            let id = next.stream.read_u32().await.unwrap();
            let unit = pool.acquire(1).await;
            tokio::task::yield_now().await;
            drop(unit);
            next.stream.write_u32(id).await.unwrap();
            assert!(heard.lock().unwrap().insert(id), "{id} was handed out twice");
            drop(next);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_cancels_lose_neither_a_connection_nor_a_permit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = Limiter::builder().limit(LIMIT).queue(QueueConfig::bounded(LIMIT)).build().unwrap();
    let connections = Limiter::fixed(1000);
    let accept = Arc::new(Accept::new(listener, connections.clone()).unwrap().linked_to(&pool));
    let address = accept.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(HashSet::new()));
    let servers: Vec<_> = (0..3)
        .map(|server| tokio::spawn(serve(accept.clone(), pool.clone(), heard.clone(), 0x5eed + server)))
        .collect();
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|first| {
            tokio::spawn(async move {
                for id in (first..CLIENTS).step_by(AT_ONCE as usize) {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.write_u32(id).await.unwrap();
                    let answer = timeout(Duration::from_secs(60), stream.read_u32()).await;
                    assert_eq!(answer.expect("a connection was lost").unwrap(), id);
                }
            })
        })
        .collect();
    for task in clients.into_iter().chain(servers) {
        task.await.unwrap();
    }
    // The last connections' tasks may still be on their way out.
    while connections.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    let stats = connections.stats();
    assert_eq!((stats.limit, stats.in_flight, stats.available, stats.waiting), (1000, 0, 1000, 0));
    assert!(stats.peak_in_flight <= LIMIT * 2, "{}", stats.peak_in_flight);
    assert_eq!((accept.stats().accepted, accept.stats().refused), (CLIENTS.into(), 0));
}
