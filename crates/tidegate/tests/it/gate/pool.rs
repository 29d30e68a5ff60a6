//! A gate before a pool: nobody gets past it, nothing is lost by leaving.

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::gate::{PoolError, PoolGate, Pooled};
use tidegate::{AskReady, Demand, Limiter, Outcome, QueueConfig, Readiness, Reason, Refused};
use tokio::time::{Instant, sleep, timeout};

use super::strict::{Empty, Lent, Strict};

const MS: Duration = Duration::from_millis(1);

fn reason<T>(got: Result<T, PoolError<Empty>>) -> Reason {
    match got {
        Err(PoolError::Refused(refused)) => refused.reason(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused"),
    }
}

/// Polls once.
fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn it_answers_how_many_who_since_when_how_long_and_no() {
    let pool = Strict::new(2, Duration::ZERO);
    let gate = pool.gate(1).unwrap();
    assert_eq!(gate.readiness(), Readiness::Ready { available: 2 });
    let first = gate.get(Demand::ONE.holder("report")).await.unwrap();
    let second = gate.get(Demand::ONE.holder("cart")).await.unwrap();
    sleep(30 * MS).await;

    let holders = gate.limiter().holders();
    let held = |name| holders.iter().any(|holder| holder.who == name && holder.age >= 30 * MS);
    assert!(held("report") && held("cart"), "{holders:?}");
    assert!(matches!(gate.readiness(), Readiness::Busy { ahead: 0, .. }));

    let mut third = pin!(gate.get(Demand::ONE.holder("search")));
    assert!(poll(third.as_mut()).is_pending());
    assert_eq!(gate.limiter().waiters()[0].who, "search");
    assert!(matches!(gate.readiness(), Readiness::Saturated { .. }));
    assert_eq!(reason(gate.get(1).await), Reason::QueueFull);
    assert_eq!(reason(gate.try_get(1).await), Reason::QueueFull);

    assert_eq!(pool.gets.load(SeqCst), 2, "who waits or is refused has not been to the pool");
    Pooled::finish(first, Outcome::Success);
    let third = third.await.unwrap();
    assert!(Pooled::permit(&third).waited() >= Duration::ZERO);
    drop((second, third));
    assert_eq!((pool.out.load(SeqCst), gate.limiter().stats().in_flight), (0, 0));
}

#[tokio::test]
async fn the_connection_is_back_before_the_next_is_admitted() {
    let pool = Strict::new(1, Duration::ZERO);
    let gate = pool.gate(64).unwrap();
    let held = gate.get(1).await.unwrap();
    let mut waiting: Vec<_> = (0..64).map(|_| Box::pin(gate.get(1))).collect();
    assert!(waiting.iter_mut().all(|get| poll(get.as_mut()).is_pending()));
    drop(held);
    for get in waiting {
        let connection = get.await.expect("the pool was never found empty");
        match pool.gets.load(SeqCst) % 3 {
            0 => drop(connection),
            1 => Pooled::finish(connection, Outcome::Success),
            _ => {
                let (connection, permit) = Pooled::into_parts(connection);
                drop(connection);
                permit.success();
            }
        }
    }
    assert_eq!(pool.gets.load(SeqCst), 65);
}

/// A connection that asks, as it goes, whether its permit is still held.
struct Asks(Arc<OnceLock<Limiter>>, Arc<AtomicU64>);

impl Drop for Asks {
    fn drop(&mut self) {
        self.1.fetch_add(self.0.get().map_or(0, |limiter| limiter.stats().in_flight), SeqCst);
    }
}

#[tokio::test]
async fn however_it_ends_the_connection_goes_before_the_permit() {
    let (limiter, held) = (Arc::new(OnceLock::new()), Arc::new(AtomicU64::new(0)));
    let asks = (Arc::clone(&limiter), Arc::clone(&held));
    let gate = PoolGate::builder(
        || 1,
        move || {
            let asks = Asks(Arc::clone(&asks.0), Arc::clone(&asks.1));
            async move {
                tokio::task::yield_now().await;
                Ok::<_, Empty>(asks)
            }
        },
    )
    .build()
    .unwrap();
    limiter.set(gate.limiter().clone()).unwrap();
    drop(gate.get(1).await.unwrap());
    assert_eq!(held.load(SeqCst), 1, "dropped");
    Pooled::finish(gate.get(1).await.unwrap(), Outcome::Success);
    assert_eq!(held.load(SeqCst), 2, "finished");
    gate.run(1, |connection| async move { drop(connection) }).await.unwrap();
    assert_eq!(held.load(SeqCst), 3, "its work ended");
    let mut opening = Box::pin(gate.get(1));
    assert!(poll(opening.as_mut()).is_pending());
    drop(opening);
    assert_eq!(held.load(SeqCst), 4, "canceled while it was opened");
    assert_eq!(gate.limiter().stats().in_flight, 0);
}

/// Tasks on several threads that come, wait, leave at any moment, and hold for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_meets_an_empty_pool_whoever_leaves_when() {
    let pool = Strict::new(3, Duration::ZERO);
    let gate = pool.gate(16).unwrap();
    let callers = (0..32_u64).map(|caller| {
        let gate = gate.clone();
        tokio::spawn(async move {
            for turn in 0..200_u64 {
                let wait = Duration::from_micros((caller * 31 + turn * 17) % 700);
                match timeout(wait, gate.get(1)).await {
                    Ok(Ok(connection)) => {
                        if turn % 3 == 0 {
                            tokio::task::yield_now().await;
                        }
                        drop(connection);
                    }
                    Ok(Err(PoolError::Pool(Empty))) => panic!("met an empty pool"),
                    Ok(Err(_)) => tokio::task::yield_now().await,
                    Err(_) => {}
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let stats = gate.limiter().stats();
    assert_eq!((stats.in_flight, stats.waiting, pool.out.load(SeqCst)), (0, 0, 0));
    assert!(stats.peak_in_flight <= 3);
}

#[tokio::test(start_paused = true)]
async fn cancelled_at_every_moment_it_loses_nothing() {
    let pool = Strict::new(1, 10 * MS);
    let gate = pool.gate(4).unwrap();
    // In the queue.
    let held = gate.get(1).await.unwrap();
    for _ in 0..4 {
        let mut waiting = Box::pin(gate.get(1));
        assert!(poll(waiting.as_mut()).is_pending());
        drop(waiting);
    }
    assert_eq!((gate.limiter().stats().waiting, pool.gets.load(SeqCst)), (0, 1));
    // Granted, and never polled again.
    let mut waiting = Box::pin(gate.get(1));
    assert!(poll(waiting.as_mut()).is_pending());
    drop(held);
    drop(waiting);
    assert_eq!((gate.limiter().stats().in_flight, pool.gets.load(SeqCst)), (0, 1));
    // While the pool opens.
    let mut opening = Box::pin(gate.get(1));
    assert!(poll(opening.as_mut()).is_pending());
    assert_eq!(pool.out.load(SeqCst), 1);
    drop(opening);
    assert_eq!((gate.limiter().stats().in_flight, pool.out.load(SeqCst)), (0, 0));
    // Never polled.
    drop(gate.get(1));
    assert!(gate.get(1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_refused_on_arrival() {
    let pool = Strict::new(1, Duration::ZERO);
    let gate = pool.gate(100).unwrap();
    let spawned = gate.clone();
    let busy = tokio::spawn(async move {
        let callers: Vec<_> = (0..40)
            .map(|_| {
                let gate = spawned.clone();
                tokio::spawn(async move {
                    let connection = gate.get(1).await.unwrap();
                    sleep(100 * MS).await;
                    Pooled::finish(connection, Outcome::Success);
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
    sleep(1_500 * MS).await;
    assert!(gate.limiter().predicted_wait().expected > 500 * MS);
    let begun = Instant::now();
    assert_eq!(reason(gate.get(Demand::ONE.deadline(begun + 300 * MS)).await), Reason::Deadline);
    assert_eq!(reason(gate.get(Demand::ONE.max_wait(300 * MS)).await), Reason::WaitTooLong);
    assert_eq!(begun.elapsed(), Duration::ZERO, "told at once");
    busy.await.unwrap();
    assert_eq!(gate.limiter().stats().expired, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_smaller_than_it_says_is_found_out() {
    let pool = tokio::sync::Semaphore::new(1);
    let pool = Arc::new(pool);
    let gate = PoolGate::builder(
        || 2,
        move || {
            let pool = Arc::clone(&pool);
            async move { pool.acquire_owned().await }
        },
    )
    .gives_within(500 * MS)
    .build()
    .unwrap();
    let held = gate.get(1).await.unwrap();
    let begun = Instant::now();
    let Err(PoolError::Refused(refused)) = gate.get(1).await else { panic!("the pool had one") };
    assert_eq!((refused.reason(), refused.limiter()), (Reason::OriginTimeout, "pool"));
    assert!(begun.elapsed() <= 501 * MS);
    // A deadline that is nearer ends it sooner, and says so.
    let Err(PoolError::Refused(refused)) = gate.get(Demand::ONE.deadline(Instant::now() + 20 * MS)).await
    else {
        panic!("the pool had one")
    };
    assert_eq!(refused.reason(), Reason::Expired);
    drop(held);
    assert!(gate.get(1).await.is_ok());
    assert_eq!(gate.limiter().stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_for_a_deadline_that_has_passed() {
    let pool = Strict::new(1, Duration::ZERO);
    let gate = pool.gate(8).unwrap();
    let passed = Demand::ONE.deadline(Instant::now());
    assert_eq!(reason(gate.get(passed.clone()).await), Reason::Expired);
    assert_eq!(reason(gate.try_get(passed.clone()).await), Reason::Expired);
    assert_eq!(reason(gate.run(passed, |_| async { panic!("nobody waits for it") }).await), Reason::Expired);
    assert_eq!((pool.gets.load(SeqCst), gate.limiter().stats().in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn it_follows_the_pools_size() {
    let pool = Strict::new(1, Duration::ZERO);
    let gate = pool.gate(8).unwrap();
    let held = gate.get(1).await.unwrap();
    pool.size.store(3, SeqCst);
    assert_eq!(gate.readiness(), Readiness::Ready { available: 2 });
    let more = (gate.get(1).await.unwrap(), gate.get(1).await.unwrap());
    pool.size.store(1, SeqCst);
    assert_eq!(reason(gate.try_get(1).await), Reason::QueueFull);
    assert_eq!(gate.limiter().stats().overcommitted, 2);
    drop((held, more));
    // By hand: kept until the pool changes.
    gate.limiter().set_limit(5);
    assert_eq!(gate.readiness(), Readiness::Ready { available: 5 });
    // Closed.
    pool.size.store(0, SeqCst);
    assert_eq!(reason(gate.get(1).await), Reason::Draining);
    assert!(matches!(gate.readiness(), Readiness::Draining { .. }));
    assert!(Strict::new(0, Duration::ZERO).gate(1).is_err(), "a pool of nothing is a mistake");
}

#[tokio::test]
async fn the_pools_own_error_gives_the_permit_back() {
    let gate: PoolGate<Lent, Empty> = PoolGate::builder(|| 1, || async { Err(Empty) }).build().unwrap();
    for _ in 0..3 {
        assert!(matches!(gate.get(1).await, Err(PoolError::Pool(Empty))));
    }
    let pool = Strict::new(1, Duration::ZERO);
    let full = pool.builder().queue(QueueConfig::none()).build().unwrap();
    let _held = full.get(1).await.unwrap();
    let boxed: Box<dyn Error + Send + Sync> = Box::new(full.get(1).await.unwrap_err());
    assert_eq!(Refused::find(&*boxed).unwrap().reason(), Reason::QueueFull);
}

#[test]
fn whoever_waits_outside_of_a_runtime_that_ends_hears_it() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let gate = Strict::new(1, Duration::ZERO).gate(8).unwrap();
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    let handle = runtime.handle().clone();
    let caller = std::thread::spawn(move || {
        handle.block_on(gate.run(1, |_connection| async move {
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
        }))
    });
    has_begun.recv().unwrap();
    runtime.shutdown_background();
    let error = caller.join().unwrap().unwrap_err();
    assert_eq!(Refused::find(&error).unwrap().reason(), Reason::Draining);
}

#[tokio::test(start_paused = true)]
async fn work_that_began_keeps_its_connection_to_its_end() {
    let pool = Strict::new(1, Duration::ZERO);
    let gate = pool.gate(8).unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let work = |connection: Pooled<Lent>| {
        let done = Arc::clone(&done);
        async move {
            sleep(100 * MS).await;
            drop(connection);
            done.fetch_add(1, SeqCst)
        }
    };
    // Its caller goes half-way: nobody else gets the connection before it ends.
    assert!(timeout(10 * MS, gate.run(1, work)).await.is_err());
    assert_eq!((gate.limiter().stats().in_flight, done.load(SeqCst)), (1, 0));
    // A caller that goes while it waits has never begun.
    assert!(timeout(10 * MS, gate.run(1, work)).await.is_err());
    let next = gate.run(1, work).await.unwrap();
    assert_eq!((next, pool.gets.load(SeqCst)), (1, 2), "after the first, and none between");
    assert_eq!(gate.limiter().service_time(0).p50.map(|p50| p50 >= 100 * MS), Some(true));

    let panicked = gate.clone();
    let panicked = tokio::spawn(async move {
        let work = |connection: Pooled<Lent>| async move {
            let _held = connection;
            panic!("in the work")
        };
        let _: () = panicked.run(1, work).await.unwrap();
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!((pool.out.load(SeqCst), gate.limiter().stats().in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn work_hears_when_its_caller_goes_and_only_then() {
    let pool = Strict::new(1, Duration::ZERO);
    let gate = pool.gate(4).unwrap();
    let (say, mut said) = tokio::sync::mpsc::channel(4);
    let work = |until: Duration| {
        let say = say.clone();
        gate.run(1, move |db| async move {
            tokio::select! {
                () = Pooled::caller_gone(&db) => {}
                () = sleep(until) => say.send("done").await.unwrap(),
            }
            // Asked again, it answers again.
            if timeout(MS, Pooled::caller_gone(&db)).await.is_ok() {
                say.send("gone").await.unwrap();
            }
        })
    };
    work(10 * MS).await.unwrap();
    assert_eq!(said.recv().await, Some("done"), "a caller that stays is there to the end");

    // One that works and one that waits behind it; both callers go.
    let (first, second) = tokio::join!(timeout(5 * MS, work(3_600_000 * MS)), timeout(5 * MS, work(MS)));
    assert!(first.is_err() && second.is_err());
    assert_eq!(said.recv().await, Some("gone"));
    while gate.limiter().stats().in_flight > 0 {
        sleep(MS).await;
    }
    assert!(said.try_recv().is_err(), "the second never began, the first gave its connection back once");
    assert_eq!(pool.out.load(SeqCst), 0);

    // In the caller's own hands there is nobody else to go.
    let db = gate.get(1).await.unwrap();
    assert!(timeout(3_600_000 * MS, Pooled::caller_gone(&db)).await.is_err());
}
