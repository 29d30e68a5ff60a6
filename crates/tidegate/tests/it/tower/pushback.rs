//! What `Held` does, in virtual time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tidegate::tower::{AssumeReady, BoxError, HearErrors, LimitLayer, Pushback, PushbackLayer};
use tidegate::{AskReady, Limiter, QueueConfig, Readiness, Reason, Refused};
use tokio::time::sleep;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceExt};

use super::work::{Work, echo, poll, poll_ready};

/// A number is the seconds that the server wants to be left alone.
fn hear<E>(result: Result<&u32, &E>) -> Pushback {
    match result {
        Ok(&seconds) if seconds > 0 => {
            Pushback::refused(Reason::Draining).after(Duration::from_secs(seconds.into()))
        }
        _ => Pushback::NONE,
    }
}

fn left(error: &BoxError) -> Duration {
    Refused::find(&**error).unwrap().retry_after().unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_are_refused_at_once_with_the_time_that_is_left() {
    let layer = PushbackLayer::new(hear::<BoxError>);
    let service = layer.layer(echo());
    assert_eq!(service.clone().oneshot(0).await.unwrap(), 0);
    assert_eq!(service.clone().oneshot(10).await.unwrap(), 10);
    sleep(Duration::from_secs(3)).await;
    let mut call = Box::pin(service.clone().oneshot(0));
    let std::task::Poll::Ready(Err(error)) = poll(&mut call) else { panic!("at once") };
    let refused = Refused::find(&*error).unwrap();
    assert_eq!((refused.reason(), refused.limiter()), (Reason::Draining, "pushback"));
    assert_eq!(left(&error), Duration::from_secs(7));
    // The next one is told a moment of its own, not much later.
    let error = service.clone().oneshot(0).await.unwrap_err();
    assert!((7001..=9000).contains(&left(&error).as_millis()), "{error}");
    // Found again through whatever is put around it.
    let wrapped = std::io::Error::other(error);
    assert!(Refused::find(&wrapped).is_some());
    sleep(Duration::from_secs(7)).await;
    assert_eq!(service.oneshot(0).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn origins_are_kept_apart_and_bounded() {
    let layer = PushbackLayer::new(hear::<BoxError>).by(|n: &u32| n % 10).most_keys(2);
    let service = layer.layer(echo());
    for n in [11, 12, 13, 14] {
        assert_eq!(service.clone().oneshot(n).await.unwrap(), n);
        assert!(layer.keys() <= 2);
    }
    // 13 and 14 last the longest; the others are asked once more.
    assert!(service.clone().oneshot(3).await.is_err());
    assert!(service.clone().oneshot(4).await.is_err());
    assert_eq!(service.clone().oneshot(1).await.unwrap(), 1);
    assert_eq!(layer.left(&4), Some(Duration::from_secs(14)));
}

#[tokio::test(start_paused = true)]
async fn years_are_five_minutes() {
    let layer = PushbackLayer::new(hear::<BoxError>);
    layer.layer(echo()).oneshot(u32::MAX).await.unwrap();
    assert_eq!(layer.left(&()), Some(Duration::from_secs(300)));
    let layer = PushbackLayer::new(hear::<BoxError>).longest(Duration::from_secs(30));
    layer.layer(echo()).oneshot(u32::MAX).await.unwrap();
    assert_eq!(layer.left(&()), Some(Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn it_can_be_asked() {
    let layer = PushbackLayer::new(hear::<BoxError>);
    let service = layer.layer(AssumeReady(echo()));
    assert_eq!(service.readiness(), Readiness::Ready { available: u64::MAX });
    service.clone().oneshot(5).await.unwrap();
    assert_eq!(service.readiness(), Readiness::Saturated { retry_after: Some(Duration::from_secs(5)) });
}

/// A local limiter's moment belongs to one caller, not to the server.
#[tokio::test(start_paused = true)]
async fn a_limit_further_in_holds_nobody_else_back() {
    let limiter = Limiter::builder().limit(1).queue(QueueConfig::none()).build().unwrap();
    // Once it knows its pace, it names moments.
    for _ in 0..20 {
        let permit = limiter.try_acquire(1).unwrap();
        sleep(Duration::from_millis(10)).await;
        permit.success();
    }
    let layer = PushbackLayer::new(HearErrors);
    let service = layer.layer(LimitLayer::new(limiter.clone()).layer(echo()));
    let held = limiter.try_acquire(1).unwrap();
    assert!(service.clone().oneshot(1).await.is_err());
    drop(held);
    assert_eq!((layer.keys(), service.oneshot(2).await.unwrap()), (0, 2));
}

/// Decision 5: asking takes nothing, neither does a refusal, neither does a call that is dropped.
#[tokio::test(start_paused = true)]
async fn nothing_is_taken_from_the_inner_service_but_by_calls() {
    let work = Work::default();
    let limited = ConcurrencyLimitLayer::new(1).layer(work.clone());
    let service = PushbackLayer::new(hear::<BoxError>).layer(limited);
    let mut idle = service.clone();
    assert!(poll_ready(&mut idle).is_ready());
    let mut running = Box::pin(service.clone().oneshot(10));
    assert!(poll(&mut running).is_pending());
    let mut waiting = Box::pin(service.clone().oneshot(0));
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(work.inside(), 1);
    drop(running);
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(work.inside(), 1, "the permit came free");
    drop(waiting);
    assert_eq!(work.inside(), 0);
    let mut last = Box::pin(service.clone().oneshot(7));
    assert!(poll(&mut last).is_pending());
    work.finish();
    assert_eq!(last.await.unwrap(), 7);
    let refused = Box::pin(idle.call(0));
    assert!(refused.await.is_err());
    assert_eq!(work.begun.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_router_keeps_its_infallible() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let server = tower::service_fn(move |n: u32| {
        counted.fetch_add(1, SeqCst);
        std::future::ready(Ok::<u32, Infallible>(n))
    });
    let service = PushbackLayer::new(hear::<Infallible>)
        .on_refusal(|refused: Refused| {
            Ok::<u32, Infallible>(refused.retry_after().unwrap().as_secs() as u32 + 100)
        })
        .layer(server);
    assert_eq!(service.clone().oneshot(9).await.unwrap(), 9);
    assert_eq!(service.clone().oneshot(0).await.unwrap(), 109);
    assert_eq!(asked.load(SeqCst), 1);
}
