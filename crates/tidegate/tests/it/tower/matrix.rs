//! The contract matrix: our layers above and below tower's, each pair under random cancels. Afterwards no permit is
//! stranded, nobody waits, nothing hangs, and the next call is answered.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use tidegate::tower::{
    BoxError, DeadlineLayer, HearErrors, LimitLayer, PushbackLayer, Repeat, RestrainLayer, RetryLayer,
};
use tidegate::{Limiter, QueueConfig};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::hedge::{self, Hedge};
use tower::limit::ConcurrencyLimit;
use tower::load::Constant;
use tower::load_shed::LoadShed;
use tower::retry::{self, Retry};
use tower::timeout::Timeout;
use tower::{Layer, Service, ServiceExt};

const UNITS: u64 = 3;
const TASKS: u32 = 6;
const ROUNDS: u32 = 2_000;
/// Far beyond what a busy machine needs: passed only by what hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Takes none, one or two turns of the runtime for its answer.
async fn work(n: u32) -> Result<u32, BoxError> {
    for _ in 0..n % 3 {
        tokio::task::yield_now().await;
    }
    Ok(n)
}

fn worker()
-> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static {
    tower::service_fn(work)
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Calls, of which half are dropped wherever they stand, beside handles that were asked and then lie idle.
async fn churn<S>(service: S, seed: u32) -> u32
where
    S: Service<u32, Response = u32, Future: Send> + Clone + Send,
{
    let mut random = Random(0x5eed_5eed + u64::from(seed));
    let mut idle = None;
    let mut answered = 0;
    for n in 0..ROUNDS {
        if random.below(16) == 0 {
            let mut handle = service.clone();
            let _ = poll_fn(|cx| Poll::Ready(handle.poll_ready(cx).is_ready())).await;
            idle = Some(handle);
        }
        let mut call = Box::pin(service.clone().oneshot(n));
        if random.below(2) == 0 {
            for _ in 0..random.below(5) {
                if poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await {
                    answered += 1;
                    break;
                }
                tokio::task::yield_now().await;
            }
            continue;
        }
        if let Ok(answer) = tokio::time::timeout(HANGS, call).await.expect("nothing hangs") {
            assert_eq!(answer, n);
            answered += 1;
        }
    }
    drop(idle);
    answered
}

async fn holds<S>(limiter: Limiter, service: S)
where
    S: Service<u32, Response = u32, Error: std::fmt::Debug, Future: Send> + Clone + Send + 'static,
{
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(churn(service.clone(), task))).collect();
    let mut answered = 0;
    for task in tasks {
        answered += task.await.unwrap();
    }
    assert!(answered > TASKS * ROUNDS / 8, "{answered} answered");
    let last = tokio::time::timeout(HANGS, service.clone().oneshot(1)).await;
    assert_eq!(last.expect("nothing hangs").unwrap(), 1);
    drop(service);
    // A Buffer's task still drops what was cancelled in it, a hold may have to lapse.
    let empty = async {
        while limiter.stats().in_flight + limiter.stats().waiting > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANGS, empty).await.unwrap_or_else(|_| panic!("stranded: {:?}", limiter.stats()));
    assert_eq!(limiter.stats().available, UNITS);
}

fn limiter() -> Limiter {
    Limiter::builder().limit(UNITS).queue(QueueConfig::bounded(64)).build().unwrap()
}

/// Repeats what failed, once.
#[derive(Clone)]
struct Once(u32);

impl<E> retry::Policy<u32, u32, E> for Once {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut u32, result: &mut Result<u32, E>) -> Option<Self::Future> {
        self.0 += 1;
        (result.is_err() && self.0 == 1).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

/// Asks everything twice, if it takes long.
#[derive(Clone)]
struct Always;

impl hedge::Policy<u32> for Always {
    fn clone_request(&self, request: &u32) -> Option<u32> {
        Some(*request)
    }

    fn can_retry(&self, _: &u32) -> bool {
        true
    }
}

fn patient() -> RetryLayer<impl Repeat<u32> + Clone> {
    RetryLayer::new(HANGS, (|n: &u32| Some(*n), |_: &u32| true))
}

fn hedge<S: Service<u32, Error: Into<BoxError>> + Clone>(service: S) -> Hedge<S, Always> {
    Hedge::new::<u32>(service, Always, 10, 0.5, Duration::from_secs(1))
}

fn balance<S: Service<u32>>(make: impl Fn() -> S) -> Balance<ServiceList<Vec<Constant<S, u32>>>, u32>
where
    S::Error: Into<BoxError>,
{
    Balance::new(ServiceList::new((0..3).map(|_| Constant::new(make(), 1)).collect::<Vec<_>>()))
}

/// Each cell below: the other layer around ours, `Limit` and `Reserve`.
macro_rules! below {
    ($($name:ident: $make:ident => $stack:expr;)*) => { mod below {
        use super::*;
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn limit() {
                let limiter = limiter();
                let layer = LimitLayer::new(limiter.clone());
                let $make = || layer.layer(worker());
                holds(limiter, $stack).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn reserve() {
                let limiter = limiter();
                let layer = LimitLayer::new(limiter.clone()).reserve().lapse_after(Duration::from_millis(2));
                let $make = || layer.layer(worker());
                holds(limiter, $stack).await;
            }
        })*
    } };
}

/// Each cell above: `Limit` around the other layer.
macro_rules! above {
    ($($name:ident: $layer:ident => $stack:expr;)*) => { mod above {
        use super::*;
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let limiter = limiter();
            let $layer = LimitLayer::new(limiter.clone());
            holds(limiter, $stack).await;
        })*
    } };
}

below! {
    buffer: make => Buffer::new(make(), 64);
    balance: make => Buffer::new(balance(make), 64);
    retry: make => Retry::new(Once(0), make());
    hedge: make => Buffer::new(hedge(make()), 64);
    timeout: make => Timeout::new(make(), HANGS);
    load_shed: make => LoadShed::new(make());
    deadline: make => DeadlineLayer::new(HANGS).layer(make());
    retry_ours: make => patient().layer(make());
    pushback: make => PushbackLayer::new(HearErrors).layer(make());
    restrain: make => RestrainLayer::new().layer(make());
    client: make => RestrainLayer::new().layer(patient().layer(PushbackLayer::new(HearErrors).layer(make())));
    serial_above: make => LimitLayer::new(Limiter::fixed(64)).serial().layer(make());
}

above! {
    buffer: layer => layer.layer(Buffer::new(worker(), 64));
    balance: layer => layer.serial().layer(super::balance(worker));
    retry: layer => layer.layer(Retry::new(Once(0), worker()));
    hedge: layer => layer.serial().layer(super::hedge(worker()));
    timeout: layer => layer.layer(Timeout::new(worker(), HANGS));
    load_shed: layer => layer.layer(LoadShed::new(ConcurrencyLimit::new(worker(), 64)));
    concurrency_limit: layer => layer.layer(ConcurrencyLimit::new(worker(), 2));
    deadline: layer => layer.layer(DeadlineLayer::new(HANGS).layer(worker()));
    retry_ours: layer => layer.layer(patient().layer(worker()));
    client: layer => layer.layer(
        RestrainLayer::new().layer(patient().layer(PushbackLayer::new(HearErrors).layer(worker()))));
    reserve: layer => layer.layer(LimitLayer::new(Limiter::fixed(2)).reserve().layer(worker()));
    limit: layer => layer.layer(LimitLayer::new(Limiter::fixed(2)).layer(worker()));
}

/// hyper calls a service by reference and knows no readiness; the adapter clones ours for each call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_hypers_adapter() {
    let limiter = limiter();
    let ours = LimitLayer::new(limiter.clone()).layer(worker());
    let adapted = hyper_util::service::TowerToHyperService::new(ours);
    let service = tower::service_fn(move |n| hyper::service::Service::call(&adapted, n));
    holds(limiter, service).await;
}
