//! What `Limit` does: admit in `call`, hold until the answer, refuse as it was told to.

use std::convert::Infallible;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tidegate::tower::{AssumeReady, Limit, LimitLayer};
use tidegate::{AskReady, Demand, LimitAlgorithm, Limiter, Outcome, Readiness, Reason, Refused, Sample};
use tower::{Layer, Service, ServiceExt};

use super::work::{Work, echo, limiter, poll, poll_ready};

#[test]
fn the_permit_is_held_from_call_until_the_answer() {
    let limiter = limiter(2, 1);
    let work = Work::default();
    let mut service = Limit::new(work.clone(), limiter.clone());
    let mut first = Box::pin(service.call(1));
    assert_eq!((limiter.stats().in_flight, work.inside()), (1, 0), "admitted in call, begun when polled");
    assert!(poll(&mut first).is_pending());
    work.finish();
    assert!(matches!(poll(&mut first), Poll::Ready(Ok(1))));
    assert_eq!((limiter.stats().in_flight, work.inside()), (0, 0));
    assert!(poll(&mut first).is_pending(), "polled again after its end, it stays silent");
}

#[test]
fn who_is_not_admitted_at_once_waits_in_the_limiters_queue_or_is_refused() {
    let limiter = limiter(1, 1);
    let work = Work::default();
    let service = Limit::new(work.clone(), limiter.clone());
    let mut first = Box::pin(service.clone().call(1));
    let mut second = Box::pin(service.clone().call(2));
    let mut third = Box::pin(service.clone().call(3));
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    assert_eq!((limiter.stats().waiting, work.inside()), (1, 1));
    let Poll::Ready(Err(error)) = poll(&mut third) else { panic!("not refused") };
    assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::QueueFull);
    work.finish();
    assert!(poll(&mut first).is_ready());
    assert!(poll(&mut second).is_pending());
    assert_eq!((limiter.stats().in_flight, work.begun.load(SeqCst)), (1, 2), "the third never reached it");
    drop(second);
    assert_eq!((limiter.stats().in_flight, work.inside()), (0, 0));
}

#[test]
fn a_call_dropped_while_it_waits_leaves_the_queue_at_once() {
    let limiter = limiter(1, 8);
    let service = Limit::new(Work::default(), limiter.clone());
    let mut first = Box::pin(service.clone().call(1));
    let second = Box::pin(service.clone().call(2));
    assert!(poll(&mut first).is_pending());
    assert_eq!(limiter.stats().waiting, 1);
    drop(second);
    assert_eq!((limiter.stats().waiting, limiter.stats().canceled), (0, 1));
    drop(first);
    assert_eq!(limiter.stats().available, 1);
}

#[test]
fn the_work_is_dropped_before_its_permit_goes_back() {
    struct Watched(Limiter, Arc<Mutex<Vec<u64>>>);
    impl Drop for Watched {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0.stats().in_flight);
        }
    }
    let limiter = limiter(1, 0);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (of, log) = (limiter.clone(), Arc::clone(&seen));
    let work = tower::service_fn(move |end: bool| {
        let watched = Watched(of.clone(), Arc::clone(&log));
        async move {
            let _watched = watched;
            if !end {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(())
        }
    });
    let mut service = Limit::new(work, limiter.clone());
    let mut dropped = Box::pin(service.call(false));
    assert!(poll(&mut dropped).is_pending());
    drop(dropped);
    assert!(poll(&mut Box::pin(service.call(true))).is_ready());
    assert_eq!(*seen.lock().unwrap(), [1, 1], "units held when the work was dropped");
    assert_eq!(limiter.stats().in_flight, 0);
}

#[test]
fn closures_say_what_is_asked_for_and_what_a_refusal_becomes() {
    let limiter = limiter(5, 0);
    let mut service = LimitLayer::new(limiter.clone())
        .demand(|request: &u32| Demand::weight(u64::from(*request)))
        .on_refusal(|refused: Refused| Ok::<u32, Infallible>(1000 + refused.reason().index() as u32))
        .layer(Work::default());
    let mut four = Box::pin(service.call(4));
    assert!(poll(&mut four).is_pending());
    assert_eq!(limiter.stats().in_flight, 4);
    let Poll::Ready(Ok::<_, Infallible>(answer)) = poll(&mut Box::pin(service.call(2))) else { panic!() };
    assert_eq!(answer, 1000, "the refusal is an answer, and the error type stays what it was");
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(Outcome, bool)>>>);

impl LimitAlgorithm for Heard {
    fn limit(&self) -> u64 {
        8
    }

    fn on_sample(&mut self, sample: &Sample) -> u64 {
        self.0.lock().unwrap().push((sample.outcome, sample.in_time));
        8
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_learns_how_work_ended() {
    let heard = Heard::default();
    let work = tower::service_fn(|status: u16| async move {
        match status {
            0 => Err("broken"),
            1 => std::future::pending().await,
            2 => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(status)
            }
            _ => Ok(status),
        }
    });
    let mut service = LimitLayer::new(Limiter::adaptive(heard.clone()))
        .demand(|_: &u16| Demand::ONE.deadline(tokio::time::Instant::now() + Duration::from_secs(1)))
        .outcome(|result: Result<&u16, &&str>| match result {
            Ok(503) => Outcome::Overload,
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Ignore,
        })
        .layer(work);
    for status in [200, 503, 0, 2] {
        let _ = service.call(status).await;
    }
    drop(tokio::time::timeout(Duration::from_millis(1), service.call(1)).await);
    assert_eq!(
        *heard.0.lock().unwrap(),
        [
            (Outcome::Success, true),
            (Outcome::Overload, true),
            (Outcome::Ignore, true),
            (Outcome::Success, false),
            (Outcome::Canceled, true),
        ]
    );
}

#[test]
fn readiness_is_the_worst_of_the_stack() {
    let (outer, inner) = (limiter(9, 0), limiter(3, 0));
    let service = Limit::new(Limit::new(AssumeReady(echo()), inner.clone()), outer.clone());
    assert_eq!(service.readiness(), Readiness::Ready { available: 3 });
    let asked: Arc<dyn AskReady> = Arc::new(service.clone());
    assert_eq!(asked.readiness_for(&Demand::ONE), Readiness::Ready { available: 3 });
    let _held = inner.try_acquire(3).unwrap();
    assert!(matches!(service.readiness(), Readiness::Saturated { .. }));
    let _drain = outer.drain();
    assert!(matches!(service.readiness_for(&Demand::weight(2)), Readiness::Draining { .. }));
}

/// Not Clone, ready for one call after every second question, and notes a call that it was not ready for.
struct Moody {
    asked: usize,
    ready: bool,
}

impl Service<u32> for Moody {
    type Response = u32;
    type Error = Infallible;
    type Future = std::future::Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.asked += 1;
        self.ready |= self.asked % 2 == 0;
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        std::future::ready(Ok(request))
    }
}

#[tokio::test]
async fn serial_serves_a_service_that_cannot_be_cloned() {
    let limiter = limiter(4, 64);
    let service = LimitLayer::new(limiter.clone()).serial().layer(Moody { asked: 0, ready: false });
    let calls: Vec<_> = (0..32).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap() as usize, n);
    }
    // A call that is dropped in its turn passes the turn on.
    let mut held = Box::pin(service.clone().oneshot(1));
    let mut next = Box::pin(service.clone().oneshot(2));
    assert!(poll(&mut held).is_pending());
    assert!(poll(&mut next).is_pending());
    drop(held);
    assert_eq!(next.await.unwrap(), 2);
    assert_eq!(limiter.stats().in_flight, 0);
}

#[test]
fn an_idle_handle_holds_nothing() {
    let limiter = limiter(1, 0);
    let mut handles: Vec<_> = (0..10).map(|_| Limit::new(echo(), limiter.clone())).collect();
    for handle in &mut handles {
        assert!(poll_ready::<_, u32>(handle).is_ready());
    }
    assert_eq!(limiter.stats().available, 1);
}
