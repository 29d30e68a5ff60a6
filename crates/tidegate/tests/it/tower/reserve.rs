//! `Reserve`: a permit between `poll_ready` and `call`, and what becomes of it.

use std::task::Poll;
use std::time::Duration;

use tidegate::Refused;
use tidegate::tower::LimitLayer;
use tower::{Layer, Service, ServiceExt};

use super::work::{Work, echo, limiter, poll, poll_ready};

const LONG: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn call_uses_the_unit_that_poll_ready_took() {
    let limiter = limiter(1, 4);
    let work = Work::default();
    let mut service = LimitLayer::new(limiter.clone()).reserve().layer(work.clone());
    assert!(!service.is_armed());
    for _ in 0..3 {
        assert!(poll_ready::<_, u32>(&mut service).is_ready());
    }
    assert_eq!((service.is_armed(), limiter.stats().in_flight), (true, 1));
    let mut call = Box::pin(service.call(7));
    assert!(poll(&mut call).is_pending());
    assert_eq!((service.is_armed(), limiter.stats().in_flight, work.inside()), (false, 1, 1));
    tokio::time::sleep(LONG).await;
    assert_eq!(limiter.stats().in_flight, 1, "work does not lapse");
    work.finish();
    assert!(matches!(poll(&mut call), Poll::Ready(Ok(7))));
    assert_eq!(limiter.stats().available, 1);
}

#[tokio::test(start_paused = true)]
async fn a_hold_lapses_although_nobody_looks_and_the_next_gets_the_unit() {
    let limiter = limiter(1, 4);
    let layer = LimitLayer::new(limiter.clone()).reserve().lapse_after(Duration::from_millis(20));
    let (mut idle, mut next) = (layer.layer(echo()), layer.layer(echo()));
    assert!(poll_ready::<_, u32>(&mut idle).is_ready());
    let begun = tokio::time::Instant::now();
    ServiceExt::<u32>::ready(&mut next).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(20));
    assert_eq!((idle.is_armed(), next.is_armed(), limiter.stats().in_flight), (false, true, 1));
    assert_eq!(next.call(1).await.unwrap(), 1);
    // Its hold is over, and it is called all the same: it asks again.
    assert_eq!(idle.call(2).await.unwrap(), 2);
    assert_eq!(limiter.stats().available, 1);
    // The task has ended with the last hold; the next hold starts it anew.
    tokio::time::sleep(LONG).await;
    assert!(poll_ready::<_, u32>(&mut idle).is_ready());
    tokio::time::sleep(LONG).await;
    assert_eq!(limiter.stats().available, 1);
}

#[tokio::test(start_paused = true)]
async fn disarm_drop_and_clone_leave_nothing_behind() {
    let limiter = limiter(1, 4);
    let mut armed = LimitLayer::new(limiter.clone()).reserve().layer(echo());
    assert!(poll_ready::<_, u32>(&mut armed).is_ready());
    let mut waits = armed.clone();
    assert!(!waits.is_armed());
    assert!(poll_ready::<_, u32>(&mut waits).is_pending());
    assert_eq!(limiter.stats().waiting, 1);
    assert!(!waits.disarm());
    assert_eq!((limiter.stats().waiting, limiter.stats().declined), (0, 1));
    assert!(poll_ready::<_, u32>(&mut waits).is_pending());
    assert!(armed.disarm() && !armed.disarm());
    assert!(poll_ready::<_, u32>(&mut waits).is_ready(), "handed over");
    drop(waits);
    assert_eq!(limiter.stats().available, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_comes_with_the_call_not_as_a_broken_service() {
    let limiter = limiter(1, 0);
    let _held = limiter.try_acquire(1).unwrap();
    let mut service = LimitLayer::new(limiter.clone()).reserve().layer(echo());
    assert!(matches!(poll_ready::<_, u32>(&mut service), Poll::Ready(Ok(()))));
    assert!(!service.is_armed());
    assert!(Refused::find(&*service.call(1).await.unwrap_err()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_handle_waits_on_beyond_the_queues_longest_wait() {
    let limiter = limiter(1, 4);
    let held = limiter.try_acquire(1).unwrap();
    let mut service = LimitLayer::new(limiter.clone()).reserve().layer(echo());
    let waits = tokio::spawn(async move { ServiceExt::<u32>::ready(&mut service).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(limiter.stats().waiting, 1);
    drop(held);
    waits.await.unwrap().unwrap();
    assert_eq!(limiter.stats().available, 1, "its handle is gone");
}

#[test]
fn without_a_runtime_a_hold_ends_when_any_handle_is_asked() {
    let limiter = limiter(1, 4);
    let layer = LimitLayer::new(limiter.clone()).reserve().lapse_after(Duration::ZERO);
    let (mut idle, mut next) = (layer.layer(echo()), layer.layer(echo()));
    assert!(poll_ready::<_, u32>(&mut idle).is_ready());
    assert!(!next.is_armed() && !idle.is_armed());
    assert!(poll_ready::<_, u32>(&mut next).is_ready());
}
