//! Our layers below and above tower's.

use std::time::Duration;

use tidegate::Limiter;
use tidegate::tower::{
    BoxError, DeadlineLayer, HearErrors, LimitLayer, PushbackLayer, Repeat, ReserveLayer, RestrainLayer,
    RetryLayer,
};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::hedge::{self, Hedge};
use tower::limit::ConcurrencyLimit;
use tower::load::Constant;
use tower::load_shed::LoadShed;
use tower::retry::{self, Retry};
use tower::timeout::Timeout;
use tower::{Layer, Service};

use super::LAYERS;
use super::cell::{Cell, HANGS};

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

fn hedged<S: Service<u32, Error: Into<BoxError>> + Clone>(service: S) -> Hedge<S, Always> {
    Hedge::new::<u32>(service, Always, 10, 0.5, Duration::from_secs(1))
}

fn balanced<S: Service<u32>>(make: impl Fn() -> S) -> Balance<ServiceList<Vec<Constant<S, u32>>>, u32>
where
    S::Error: Into<BoxError>,
{
    Balance::new(ServiceList::new((0..3).map(|_| Constant::new(make(), 1)).collect::<Vec<_>>()))
}

/// Each cell below: the other layer around ours, once for each of ours.
macro_rules! below {
    ($($name:ident: $make:ident => $stack:expr;)*) => { mod below {
        use super::*;
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn limit() {
                let cell = Cell::new();
                let layer = LimitLayer::new(cell.limiter());
                let $make = || layer.layer(cell.worker());
                cell.holds($stack, LAYERS).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn reserve() {
                let cell = Cell::new();
                let layer = LimitLayer::new(cell.limiter()).reserve().lapse_after(Duration::from_millis(2));
                let $make = || layer.layer(cell.worker());
                cell.holds($stack, LAYERS).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn deadline() {
                let cell = Cell::new();
                let layer = LimitLayer::new(cell.limiter());
                let $make = || DeadlineLayer::new(HANGS).layer(layer.layer(cell.worker()));
                cell.holds($stack, LAYERS).await;
            }
        })*
    } };
}

/// Each cell above: `Limit` or `Reserve` around the other layer.
macro_rules! above {
    ($($kind:ident { $($name:ident: $cell:ident, $layer:ident => $stack:expr;)* })*) => { mod above {
        use super::*;
        $(mod $kind {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let $cell = Cell::new();
                let $layer = super::super::$kind(&$cell);
                $cell.holds($stack, LAYERS).await;
            })*
        })*
    } };
}

fn limit(cell: &Cell) -> LimitLayer {
    LimitLayer::new(cell.limiter())
}

fn reserve(cell: &Cell) -> ReserveLayer {
    LimitLayer::new(cell.limiter()).reserve().lapse_after(Duration::from_millis(2))
}

below! {
    buffer: make => Buffer::new(make(), 64);
    balance: make => Buffer::new(balanced(make), 64);
    retry: make => Retry::new(Once(0), make());
    hedge: make => Buffer::new(hedged(make()), 64);
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
    limit {
        buffer: cell, layer => layer.layer(Buffer::new(cell.worker(), 64));
        balance: cell, layer => layer.serial().layer(balanced(|| cell.worker()));
        retry: cell, layer => layer.layer(Retry::new(Once(0), cell.worker()));
        hedge: cell, layer => layer.serial().layer(hedged(cell.worker()));
        timeout: cell, layer => layer.layer(Timeout::new(cell.worker(), HANGS));
        load_shed: cell, layer => layer.layer(LoadShed::new(ConcurrencyLimit::new(cell.worker(), 64)));
        concurrency_limit: cell, layer => layer.layer(ConcurrencyLimit::new(cell.worker(), 2));
        deadline: cell, layer => layer.layer(DeadlineLayer::new(HANGS).layer(cell.worker()));
        retry_ours: cell, layer => layer.layer(patient().layer(cell.worker()));
        client: cell, layer => layer.layer(
            RestrainLayer::new().layer(patient().layer(PushbackLayer::new(HearErrors).layer(cell.worker()))));
        reserve: cell, layer => layer.layer(LimitLayer::new(Limiter::fixed(2)).reserve().layer(cell.worker()));
        limit: cell, layer => layer.layer(LimitLayer::new(Limiter::fixed(2)).layer(cell.worker()));
    }
    reserve {
        buffer: cell, layer => layer.layer(Buffer::new(cell.worker(), 64));
        retry: cell, layer => layer.layer(Retry::new(Once(0), cell.worker()));
        timeout: cell, layer => layer.layer(Timeout::new(cell.worker(), HANGS));
        load_shed: cell, layer => layer.layer(LoadShed::new(ConcurrencyLimit::new(cell.worker(), 64)));
        concurrency_limit: cell, layer => layer.layer(ConcurrencyLimit::new(cell.worker(), 2));
        deadline: cell, layer => layer.layer(DeadlineLayer::new(HANGS).layer(cell.worker()));
        limit: cell, layer => layer.layer(LimitLayer::new(Limiter::fixed(2)).layer(cell.worker()));
    }
}

/// hyper calls a service by reference and knows no readiness; the adapter clones ours for each call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_hypers_adapter() {
    let cell = Cell::new();
    let adapted = hyper_util::service::TowerToHyperService::new(limit(&cell).layer(cell.worker()));
    let service = tower::service_fn(move |n| hyper::service::Service::call(&adapted, n));
    cell.holds(service, LAYERS).await;
}
