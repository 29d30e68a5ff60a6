//! The limiter without a runtime, step by step.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tidegate_control::limit::Fixed;
use tidegate_control::queue::Criticality;

use super::*;
use crate::{AskReady, Demand, Readiness, Reason, Refused};

pub(super) fn limiter(limit: u64, queue: u64) -> Limiter {
    Limiter::builder().limit(limit).queue(QueueConfig::bounded(queue)).build().unwrap()
}

pub(super) fn ticket(limiter: &Limiter, demand: impl Into<Demand>) -> Ticket {
    match limiter.enqueue(demand).unwrap() {
        Admission::Waiting(ticket) => ticket,
        Admission::Admitted(_) => panic!("admitted at once"),
    }
}

pub(super) fn reason<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
    result.unwrap_err().reason()
}

pub(super) fn claim(ticket: Ticket) -> Permit {
    ticket.try_claim().unwrap()
}

pub(super) fn waits(ticket: Ticket) -> Ticket {
    match ticket.try_claim() {
        Err(TryClaimError::NotYet(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, rings: &Arc<Rings>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(rings));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

#[test]
fn handles_cross_threads_and_refusals_are_small() {
    fn send_sync<T: Send + Sync>() {}
    send_sync::<Limiter>();
    send_sync::<Permit>();
    send_sync::<Ticket>();
    send_sync::<Acquire>();
    send_sync::<Refused>();
    send_sync::<Drained>();
    send_sync::<ReadinessWatch>();
    assert!(size_of::<Result<Permit, Refused>>() <= 128);
}

#[test]
fn permits_come_and_go_without_a_runtime() {
    let limiter = limiter(2, 0);
    let first = limiter.try_acquire(Demand::ONE).unwrap();
    let second = limiter.try_acquire(1).unwrap();
    assert_eq!(reason(limiter.try_acquire(Demand::ONE)), Reason::QueueFull);
    assert_eq!(limiter.stats().in_flight, 2);
    drop(first);
    second.success();
    let stats = limiter.stats();
    assert_eq!((stats.in_flight, stats.available, stats.admitted, stats.peak_in_flight), (0, 2, 2, 2));
    assert_eq!((stats.refused(Reason::QueueFull), stats.refused_total()), (1, 1));
}

#[test]
fn readiness_reserves_nothing_and_tells_the_truth() {
    let limiter = limiter(1, 1);
    for _ in 0..1000 {
        assert_eq!(limiter.readiness(), Readiness::Ready { available: 1 });
    }
    let held = limiter.try_acquire(Demand::ONE).unwrap();
    assert!(matches!(limiter.readiness(), Readiness::Busy { ahead: 0, .. }));
    let waiting = ticket(&limiter, 1);
    assert!(matches!(limiter.readiness(), Readiness::Saturated { .. }));
    drop(held);
    let granted = claim(waiting);
    drop(granted);
    assert!(AskReady::readiness(&limiter).is_ready());
    assert!(
        !AskReady::readiness_for(&limiter, &Demand::weight(2)).is_ready() || limiter.stats().in_flight == 0
    );
}

#[test]
fn nobody_passes_the_queue() {
    let limiter = limiter(1, 10);
    let held = limiter.try_acquire(1).unwrap();
    let first = ticket(&limiter, 1);
    let second = ticket(&limiter, 1);
    assert_eq!((first.ahead(), second.ahead()), (0, 1));
    drop(held);
    assert_eq!(reason(limiter.try_acquire(1)), Reason::QueueFull, "the unit belongs to the first");
    let second = waits(second);
    drop(claim(first));
    drop(claim(second));
    assert_eq!(limiter.stats().available, 1);
}

#[test]
fn an_idle_handle_holds_nothing() {
    let limiter = limiter(1, 10);
    let clones: Vec<Limiter> = (0..100).map(|_| limiter.clone()).collect();
    assert!(clones.iter().all(|clone| clone.readiness().is_ready()));
    drop(limiter.acquire(1));
    assert_eq!(limiter.stats().available, 1);
}

#[test]
fn a_canceled_head_lets_the_next_go_and_a_dropped_grant_passes_on() {
    let limiter = limiter(2, 10);
    let held = limiter.try_acquire(2).unwrap();
    let large = ticket(&limiter, 2);
    let rings = Arc::new(Rings::default());
    let mut small = ticket(&limiter, 1);
    limiter.set_limit(3);
    // One unit is free and the large one does not fit; the small one may pass it.
    assert!(matches!(poll(&mut small, &rings), Poll::Ready(Ok(_))));
    let mut next = ticket(&limiter, 3);
    assert!(poll(&mut next, &rings).is_pending());
    drop(held);
    drop(large);
    assert_eq!(rings.0.load(Ordering::SeqCst), 1, "the dropped grant woke the next");
    let permit = claim(next);
    assert_eq!(permit.weight(), 3);
    drop(permit);
    assert_eq!(limiter.stats().canceled, 1);
    assert_eq!(limiter.stats().available, 3);
}

#[test]
fn declining_is_counted_apart() {
    let limiter = limiter(1, 2);
    let held = limiter.try_acquire(1).unwrap();
    ticket(&limiter, 1).decline();
    drop(ticket(&limiter, 1));
    drop(held);
    let stats = limiter.stats();
    assert_eq!((stats.declined, stats.canceled, stats.waiting, stats.available), (1, 1, 0, 1));
}

#[test]
fn a_lower_limit_holds_at_once_and_its_debt_is_paid_first() {
    let limiter = limiter(4, 10);
    let mut held: Vec<Permit> = (0..4).map(|_| limiter.try_acquire(1).unwrap()).collect();
    let waiting = ticket(&limiter, 1);
    limiter.set_limit(2);
    assert_eq!((limiter.stats().overcommitted, limiter.stats().available), (2, 0));
    held.pop();
    held.pop();
    let waiting = waits(waiting);
    held.pop();
    let permit = claim(waiting);
    assert_eq!(limiter.stats().in_flight, 2);
    drop((permit, held));
    assert_eq!(limiter.stats().available, 2);
}

#[test]
fn a_higher_limit_wakes_exactly_as_many_as_fit() {
    let limiter = limiter(1, 10);
    let _held = limiter.try_acquire(1).unwrap();
    let rings = Arc::new(Rings::default());
    let mut tickets: Vec<Ticket> = (0..5).map(|_| ticket(&limiter, 1)).collect();
    for ticket in &mut tickets {
        assert!(poll(ticket, &rings).is_pending());
    }
    limiter.set_limit(3);
    assert_eq!(rings.0.load(Ordering::SeqCst), 2);
    assert_eq!((limiter.stats().in_flight, limiter.stats().waiting), (3, 3));
}

#[test]
fn a_limit_of_zero_admits_nobody() {
    let limiter = limiter(1, 10);
    limiter.set_limit(0);
    let waiting = waits(ticket(&limiter, 1));
    assert_eq!(reason(limiter.try_acquire(1)), Reason::QueueFull);
    limiter.set_limit(1);
    drop(claim(waiting));
}

#[test]
fn a_demand_heavier_than_the_limit_goes_alone() {
    let limiter = limiter(4, 10);
    let one = limiter.try_acquire(1).unwrap();
    let heavy = waits(ticket(&limiter, 9));
    drop(one);
    let heavy = claim(heavy);
    assert_eq!(reason(limiter.try_acquire(1)), Reason::QueueFull);
    drop(heavy);
    assert_eq!(limiter.stats().available, 4);
    assert_eq!(limiter.try_acquire(u64::MAX).unwrap().weight(), u64::MAX);
    assert_eq!(limiter.stats().available, 4);
}

#[test]
fn a_large_demand_is_not_starved() {
    let limiter = limiter(4, 64);
    let mut held: Vec<Permit> = (0..4).map(|_| limiter.try_acquire(1).unwrap()).collect();
    let mut large = ticket(&limiter, 4);
    let mut small: Vec<Ticket> = (0..32).map(|_| ticket(&limiter, 1)).collect();
    let mut passed = 0;
    loop {
        held.pop();
        match large.try_claim() {
            Ok(_) => break,
            Err(TryClaimError::NotYet(back)) => large = back,
            Err(TryClaimError::Refused(refused)) => panic!("{refused}"),
        }
        small = small
            .into_iter()
            .filter_map(|ticket| match ticket.try_claim() {
                Ok(permit) => {
                    passed += 1;
                    held.push(permit);
                    None
                }
                Err(TryClaimError::NotYet(ticket)) => Some(ticket),
                Err(TryClaimError::Refused(refused)) => panic!("{refused}"),
            })
            .collect();
    }
    assert!(passed <= 8, "{passed} passed");
}

#[test]
fn classes_displace_and_go_first() {
    let limiter = limiter(1, 2);
    let held = limiter.try_acquire(1).unwrap();
    let batch = ticket(&limiter, Demand::ONE.class(Criticality::Sheddable));
    let user = ticket(&limiter, Demand::ONE);
    let payment = ticket(&limiter, Demand::ONE.class(Criticality::CriticalPlus));
    match batch.try_claim() {
        Err(TryClaimError::Refused(refused)) => assert_eq!(refused.reason(), Reason::Displaced),
        other => panic!("{other:?}"),
    }
    assert_eq!(reason(limiter.enqueue(Demand::ONE)), Reason::QueueFull);
    drop(held);
    let user = waits(user);
    drop(claim(payment));
    drop(claim(user));
}

#[test]
fn holders_and_waiters_are_listed() {
    let limiter = Limiter::builder().name("db").limit(2).track_occupants(true).build().unwrap();
    let import = limiter.try_acquire(Demand::weight(2).holder("import")).unwrap();
    let report = ticket(&limiter, Demand::ONE.key("acme").class(Criticality::Sheddable));
    let holders = limiter.holders();
    assert_eq!((holders.len(), &*holders[0].who, holders[0].weight), (1, "import", 2));
    let waiters = limiter.waiters();
    assert_eq!((&*waiters[0].who, waiters[0].class), ("acme", Criticality::Sheddable));
    drop(import);
    assert_eq!(limiter.holders()[0].who, "acme");
    drop(report);
    assert!(limiter.holders().is_empty() && limiter.waiters().is_empty());
}

#[test]
fn dry_run_admits_everybody_and_counts() {
    let limiter = Limiter::builder().limit(1).queue(QueueConfig::bounded(1)).dry_run(true).build().unwrap();
    let held: Vec<Permit> = (0..5).map(|_| limiter.try_acquire(1).unwrap()).collect();
    let stats = limiter.stats();
    assert_eq!((stats.in_flight, stats.overcommitted, stats.admitted), (5, 4, 5));
    // The first fits, the second would have waited, three would have been refused.
    assert_eq!((stats.would_refuse, stats.refused(Reason::QueueFull)), (3, 3));
    drop(held);
    assert_eq!(limiter.stats().available, 1);
}

#[test]
fn wrong_settings_are_told() {
    assert!(Limiter::builder().build().is_err());
    assert!(Limiter::builder().limit(1).algorithm(Fixed::new(2)).build().is_err());
    assert!(Limiter::builder().limit(u64::MAX).build().is_err());
    assert!(Limiter::builder().limit(0).build().is_err());
    let nobody = QueueConfig::bounded(1).max_wait(Duration::ZERO);
    assert!(Limiter::builder().limit(1).queue(nobody).build().unwrap_err().to_string().contains("max_wait"));
}

#[test]
fn those_that_wait_are_refused_and_nobody_else() {
    let limiter = limiter(1, 4);
    let held = limiter.try_acquire(1).unwrap();
    let waiting =
        [ticket(&limiter, Demand::ONE), ticket(&limiter, Demand::ONE.class(Criticality::Sheddable))];
    limiter.refuse_waiting();
    for refused in waiting {
        assert!(
            matches!(refused.try_claim(), Err(TryClaimError::Refused(why)) if why.reason() == Reason::Draining)
        );
    }
    assert_eq!((limiter.stats().waiting, limiter.stats().in_flight), (0, 1));
    let newcomer = waits(ticket(&limiter, Demand::ONE));
    drop(held);
    drop(claim(newcomer));
    assert!(limiter.try_acquire(1).is_ok(), "the line has ended");
}
