//! Differential tests: a defect of another crate, shown on it, and that it is not so here. When the other crate
//! mends one, its half of the test fails and the claim goes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use tidegate::Limiter;
use tidegate::tower::{Limit, LimitLayer};
use tokio::sync::Semaphore;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::limit::ConcurrencyLimit;
use tower::load::Constant;
use tower::load_shed::LoadShed;
use tower::{Layer, Service, ServiceExt};

use super::work::{Work, echo, limiter, poll, poll_ready};

fn shedding<S>(service: S, limit: usize) -> (LoadShed<ConcurrencyLimit<S>>, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(limit));
    (LoadShed::new(ConcurrencyLimit::with_semaphore(service, Arc::clone(&permits))), permits)
}

#[test]
fn defect_1_an_idle_handle_holds_a_permit() {
    let (theirs, permits) = shedding(echo(), 1);
    let mut idle = theirs.clone();
    assert!(poll_ready::<_, u32>(&mut idle).is_ready());
    assert_eq!(permits.available_permits(), 0, "held by a handle that does nothing");
    assert!(
        matches!(poll(&mut Box::pin(theirs.oneshot(1))), Poll::Ready(Err(_))),
        "nothing runs, and yet shed"
    );

    let limiter = limiter(1, 0);
    let ours = Limit::new(echo(), limiter.clone());
    let mut idle = ours.clone();
    assert!(poll_ready::<_, u32>(&mut idle).is_ready());
    assert_eq!(limiter.stats().available, 1);
    assert!(matches!(poll(&mut Box::pin(ours.oneshot(1))), Poll::Ready(Ok(1))));
}

#[test]
fn defect_2_a_freed_permit_goes_to_a_handle_that_was_shed() {
    let work = Work::default();
    let (theirs, permits) = shedding(work.clone(), 1);
    let mut running = Box::pin(theirs.clone().oneshot(1));
    assert!(poll(&mut running).is_pending());
    let mut shed = theirs.clone();
    assert!(poll_ready(&mut shed).is_ready());
    assert!(matches!(poll(&mut Box::pin(shed.call(2))), Poll::Ready(Err(_))));
    work.finish();
    assert!(poll(&mut running).is_ready());
    drop(running);
    assert_eq!((work.inside(), permits.available_permits()), (0, 0), "nothing runs, nothing is free");
    assert!(matches!(poll(&mut Box::pin(theirs.clone().oneshot(3))), Poll::Ready(Err(_))));
    drop(shed);

    let work = Work::default();
    let limiter = limiter(1, 0);
    let ours = Limit::new(work.clone(), limiter.clone());
    let mut running = Box::pin(ours.clone().oneshot(1));
    assert!(poll(&mut running).is_pending());
    let mut refused = ours.clone();
    assert!(poll_ready::<_, u32>(&mut refused).is_ready());
    assert!(matches!(poll(&mut Box::pin(refused.call(2))), Poll::Ready(Err(_))));
    work.finish();
    assert!(poll(&mut running).is_ready());
    assert_eq!(limiter.stats().available, 1);
    let mut next = Box::pin(ours.clone().oneshot(3));
    assert!(poll(&mut next).is_pending());
    assert_eq!(work.inside(), 1, "it runs");
}

#[tokio::test(start_paused = true)]
async fn defect_3_an_idle_handle_keeps_a_buffers_slot() {
    let theirs = Buffer::new(echo(), 1);
    let mut idle = theirs.clone();
    idle.ready().await.unwrap();
    let other = tokio::time::timeout(Duration::from_secs(60), theirs.clone().oneshot(1)).await;
    assert!(other.is_err(), "every other call hangs");
    drop(idle);

    let ours = Limit::new(theirs, limiter(1, 1));
    let mut idle = ours.clone();
    ServiceExt::<u32>::ready(&mut idle).await.unwrap();
    let other = tokio::time::timeout(Duration::from_secs(60), ours.clone().oneshot(1)).await;
    assert_eq!(other.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn defect_4_a_balancer_takes_a_permit_of_every_endpoint() {
    let permits: Vec<_> = (0..4).map(|_| Arc::new(Semaphore::new(1))).collect();
    let endpoint = |permits: &Arc<Semaphore>| {
        Constant::new(ConcurrencyLimit::with_semaphore(echo(), Arc::clone(permits)), 1)
    };
    let free = || permits.iter().map(|permits| permits.available_permits()).sum::<usize>();
    let mut theirs = Balance::new(ServiceList::new::<u32>(permits.iter().map(endpoint)));
    theirs.ready().await.unwrap();
    assert_eq!(free(), 0, "one question, every endpoint held");
    theirs.call(1).await.unwrap();
    assert_eq!(free(), 1, "its one call is over, and three of four are still held");

    let limiters: Vec<_> = (0..4).map(|_| limiter(1, 1)).collect();
    let endpoint = |limiter: &Limiter| Constant::new(Limit::new(echo(), limiter.clone()), 1);
    let free = || limiters.iter().map(|limiter| limiter.stats().available).sum::<u64>();
    let mut ours = Balance::new(ServiceList::new::<u32>(limiters.iter().map(endpoint)));
    ours.ready().await.unwrap();
    assert_eq!(free(), 4);
    ours.call(1).await.unwrap();
    assert_eq!(free(), 4);
}

#[tokio::test]
async fn defect_5_a_spent_budget_of_the_runtime_is_read_as_overload() {
    let (mut theirs, permits) = shedding(echo(), 10);
    {
        // One moment of contention in the past.
        let _all = permits.acquire_many(10).await.unwrap();
        assert!(theirs.ready().await.unwrap().call(1).await.is_err());
    }
    let mut shed = 0;
    for n in 0..1000 {
        shed += usize::from(theirs.ready().await.unwrap().call(n).await.is_err());
    }
    assert!(shed > 500, "one call after the other, never more than one in flight: {shed} of 1000 shed");

    let limiter = limiter(10, 0);
    let mut ours = Limit::new(echo(), limiter.clone());
    {
        let _all = limiter.try_acquire(10).unwrap();
        assert!(ServiceExt::<u32>::ready(&mut ours).await.unwrap().call(1).await.is_err());
    }
    for n in 0..1000 {
        assert!(ServiceExt::<u32>::ready(&mut ours).await.unwrap().call(n).await.is_ok());
    }
}

#[tokio::test]
async fn defect_6_a_semaphore_that_is_shrunk_serves_its_waiters_first_and_hides_what_is_free() {
    let theirs = Arc::new(Semaphore::new(10));
    let mut held: Vec<_> = (0..10).map(|_| Arc::clone(&theirs).try_acquire_owned().unwrap()).collect();
    let mut waiter = Box::pin(Arc::clone(&theirs).acquire_owned());
    assert!(poll(&mut waiter).is_pending());
    let mut shrink = Box::pin(Arc::clone(&theirs).acquire_many_owned(5));
    assert!(poll(&mut shrink).is_pending());
    held.truncate(9);
    assert!(poll(&mut waiter).is_ready(), "nine in flight, five allowed, and one more is let in");
    // A large caller at the head takes what is free and waits for the rest.
    let theirs = Arc::new(Semaphore::new(10));
    let _held = Arc::clone(&theirs).acquire_many_owned(6).await.unwrap();
    let mut large = Box::pin(Arc::clone(&theirs).acquire_many_owned(5));
    assert!(poll(&mut large).is_pending());
    assert_eq!(theirs.available_permits(), 0, "four do nothing");
    let mut small = Box::pin(Arc::clone(&theirs).acquire_owned());
    assert!(poll(&mut small).is_pending());

    let ours = limiter(10, 8);
    let mut held: Vec<_> = (0..10).map(|_| ours.try_acquire(1).unwrap()).collect();
    let mut waiter = Box::pin(ours.acquire(1));
    assert!(poll(&mut waiter).is_pending());
    ours.set_limit(5);
    held.truncate(5);
    assert!(poll(&mut waiter).is_pending(), "the debt is paid first");
    held.truncate(4);
    assert!(poll(&mut waiter).is_ready());

    let ours = limiter(10, 8);
    let _held = ours.try_acquire(6).unwrap();
    let mut large = Box::pin(ours.acquire(5));
    assert!(poll(&mut large).is_pending());
    assert_eq!(ours.stats().available, 4);
    assert!(poll(&mut Box::pin(ours.acquire(1))).is_ready(), "a few small ones may pass");
}

/// Counts what is inside, after `from` calls have begun.
#[derive(Clone, Default)]
struct Peak {
    inside: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
}

/// Calls that wait, and those after which the limit is taken to have had time to fall.
const CALLERS: usize = 600;
const SETTLED: usize = 200;

impl Peak {
    async fn work(self) -> Result<(), std::io::Error> {
        let begun = self.begun.fetch_add(1, SeqCst);
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        if begun > SETTLED {
            self.peak.fetch_max(inside, SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.inside.fetch_sub(1, SeqCst);
        Ok(())
    }
}

/// Says ten, and two once twenty pieces of work have ended.
#[derive(Clone, Debug, Default)]
struct TenThenTwo(Arc<AtomicUsize>);

impl TenThenTwo {
    fn limit(&self) -> usize {
        if self.0.load(SeqCst) < 20 { 10 } else { 2 }
    }
}

impl tower_acc::Algorithm for TenThenTwo {
    fn max_concurrency(&self) -> usize {
        self.limit()
    }

    fn update(&mut self, _: Duration, _: usize, _: bool, _: bool) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl tidegate::LimitAlgorithm for TenThenTwo {
    fn limit(&self) -> u64 {
        Self::limit(self) as u64
    }

    fn on_sample(&mut self, _: &tidegate::Sample) -> u64 {
        self.0.fetch_add(1, SeqCst);
        Self::limit(self) as u64
    }
}

async fn peak_of<S>(service: impl Fn(Peak) -> S) -> usize
where
    S: Service<(), Future: Send> + Clone + Send + 'static,
{
    let peak = Peak::default();
    let service = service(peak.clone());
    let calls: Vec<_> = (0..CALLERS)
        .map(|_| {
            let call = service.clone().oneshot(());
            tokio::spawn(async move { drop(call.await) })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(peak.begun.load(SeqCst), CALLERS, "all were served in the end");
    peak.peak.load(SeqCst)
}

#[tokio::test(start_paused = true)]
async fn defect_7_the_limit_cannot_fall_while_callers_wait() {
    let work = |peak: Peak| tower::service_fn(move |()| peak.clone().work());
    let theirs = |peak| tower_acc::ConcurrencyLimit::new(work(peak), TenThenTwo::default());
    assert_eq!(peak_of(theirs).await, 10, "two, says the algorithm");

    let ours = |peak| LimitLayer::new(Limiter::adaptive(TenThenTwo::default())).layer(work(peak));
    assert_eq!(peak_of(ours).await, 2);
}

/// The same algorithm for congestion-limiter.
impl congestion_limiter::limits::LimitAlgorithm for TenThenTwo {
    fn limit(&self) -> usize {
        Self::limit(self)
    }

    fn update<'a, 'b>(&'a self, _: congestion_limiter::limits::Sample) -> Updated<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        self.0.fetch_add(1, SeqCst);
        Box::pin(std::future::ready(Self::limit(self)))
    }
}

type Updated<'b> = Pin<Box<dyn Future<Output = usize> + Send + 'b>>;

#[tokio::test(start_paused = true)]
async fn defect_8_a_shrink_queues_behind_all_that_wait() {
    use congestion_limiter::limiter::{DefaultLimiter, Limiter as _, Outcome};
    let theirs = |peak: Peak| {
        let limiter = Arc::new(DefaultLimiter::new(TenThenTwo::default()));
        tower::service_fn(move |()| {
            let (limiter, peak) = (Arc::clone(&limiter), peak.clone());
            async move {
                let token = limiter.acquire_timeout(Duration::from_secs(3600)).await.unwrap();
                let result = peak.work().await;
                limiter.release(token, Some(Outcome::Success)).await;
                result
            }
        })
    };
    assert_eq!(peak_of(theirs).await, 10, "two, says the algorithm");

    let work = |peak: Peak| tower::service_fn(move |()| peak.clone().work());
    let ours = |peak| LimitLayer::new(Limiter::adaptive(TenThenTwo::default())).layer(work(peak));
    assert_eq!(peak_of(ours).await, 2);
}
