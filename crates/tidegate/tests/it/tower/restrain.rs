//! What `Restrain` does, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tidegate::tower::{BoxError, DeadlineLayer, LimitLayer, Pushback, RestrainLayer};
use tidegate::{Limiter, QueueConfig, Refused};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::work::{Work, poll};

fn hear(result: Result<&bool, &BoxError>) -> Pushback {
    match result {
        Ok(true) => Pushback::NONE,
        _ => Pushback::refused(tidegate::Reason::QueueFull),
    }
}

/// A server that takes at most a hundred of a thousand calls a second is asked for twice what it takes.
#[tokio::test(start_paused = true)]
async fn a_server_is_asked_for_twice_what_it_accepts() {
    let (room, asked, accepted) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0), AtomicU32::new(0));
    let counts = Arc::new((asked, accepted));
    let server = {
        let (room, counts) = (Arc::clone(&room), Arc::clone(&counts));
        tower::service_fn(move |_: u32| {
            counts.0.fetch_add(1, SeqCst);
            let accepts = room.fetch_update(SeqCst, SeqCst, |room| room.checked_sub(1)).is_ok();
            counts.1.fetch_add(u32::from(accepts), SeqCst);
            std::future::ready(Ok::<bool, BoxError>(accepts))
        })
    };
    let layer = RestrainLayer::new().hear(hear).seed(3);
    let service = layer.layer(server);
    for millis in 0..300_000_u32 {
        if millis % 10 == 0 {
            room.store(1, SeqCst);
        }
        if millis == 150_000 {
            counts.0.store(0, SeqCst);
            counts.1.store(0, SeqCst);
        }
        if let Err(error) = service.clone().oneshot(millis).await {
            assert!(!Refused::find(&*error).unwrap().worth_retrying());
        }
        sleep(Duration::from_millis(1)).await;
    }
    let (asked, accepted) = (f64::from(counts.0.load(SeqCst)), f64::from(counts.1.load(SeqCst)));
    assert!(asked / 150.0 < 220.0, "{asked} in 150 s");
    assert!((1.9..2.1).contains(&(asked / accepted)), "{asked} asked, {accepted} accepted");
    assert!((0.8..0.86).contains(&layer.share()), "{}", layer.share());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_is_noticed_within_a_second_and_trusted_again() {
    let up = Arc::new(AtomicBool::new(false));
    let server = {
        let up = Arc::clone(&up);
        tower::service_fn(move |_: ()| std::future::ready(Ok::<bool, BoxError>(up.load(SeqCst))))
    };
    let service = RestrainLayer::new().hear(hear).seed(5).layer(server);
    let count = async |calls: u32| {
        let mut good = 0;
        for _ in 0..calls {
            good += u32::from(matches!(service.clone().oneshot(()).await, Ok(true)));
            sleep(Duration::from_millis(10)).await;
        }
        good
    };
    assert_eq!(count(12_000).await, 0);
    up.store(true, SeqCst);
    assert!(count(102).await >= 1, "within a second");
    // What is accepted grows by the window's half: by the book, after a failure as long as the window, ten minutes.
    assert!(count(30_000).await > 1000);
    count(42_000).await;
    assert_eq!(count(1000).await, 1000);
}

/// A hundred calls at once to a server that is slow but well are no sign of anything.
#[tokio::test(start_paused = true)]
async fn what_is_not_answered_yet_and_what_was_cancelled_do_not_count() {
    let work = Work::default();
    let layer = RestrainLayer::new().seed(7);
    let service = layer.layer(work.clone());
    let mut calls: Vec<_> = (0..100).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
    assert_eq!((work.inside(), layer.share()), (100, 0.0));
    drop(calls);
    assert_eq!((work.inside(), layer.share()), (0, 0.0));
}

/// A layer further in that is full says nothing about the server; an answer that never came does.
#[tokio::test(start_paused = true)]
async fn only_what_reached_the_server_counts() {
    let limiter = Limiter::builder().limit(1).queue(QueueConfig::none()).build().unwrap();
    let layer = RestrainLayer::new();
    let service = layer.layer(LimitLayer::new(limiter.clone()).layer(Work::default()));
    let _held = limiter.try_acquire(1).unwrap();
    for n in 0..50 {
        assert!(service.clone().oneshot(n).await.is_err());
    }
    assert_eq!((limiter.stats().refused_total(), layer.share()), (50, 0.0));
    let service = layer.layer(
        DeadlineLayer::new(Duration::from_secs(1))
            .layer(LimitLayer::new(Limiter::fixed(1)).layer(Work::default())),
    );
    for n in 0..10 {
        assert!(service.clone().oneshot(n).await.is_err());
    }
    assert!(layer.share() > 0.9, "{}", layer.share());
}
