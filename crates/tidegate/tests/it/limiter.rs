//! What a limiter does: admit, hold, hand over, shrink, drain.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tidegate::{Admission, Criticality, Demand, Limiter, QueueConfig, Readiness, Reason, TryClaimError};

fn queued(limit: u64, places: u32) -> Limiter {
    Limiter::builder().name("test").limit(limit).queue(QueueConfig::bounded(places.into())).build().unwrap()
}

fn waiting(limiter: &Limiter, demand: Demand) -> tidegate::Ticket {
    match limiter.enqueue(demand).unwrap() {
        Admission::Waiting(ticket) => ticket,
        Admission::Admitted(_) => panic!("admitted at once"),
    }
}

#[test]
fn admits_up_to_the_limit_and_says_so() {
    let limiter = queued(2, 1);
    assert_eq!(limiter.readiness(), Readiness::Ready { available: 2 });
    let first = limiter.try_acquire(1).unwrap();
    let _second = limiter.try_acquire(1).unwrap();
    assert!(matches!(limiter.readiness(), Readiness::Busy { ahead: 0, .. }));
    assert_eq!(limiter.try_acquire(1).unwrap_err().reason(), Reason::QueueFull);
    let _ticket = waiting(&limiter, Demand::ONE);
    assert!(matches!(limiter.readiness(), Readiness::Saturated { .. }));
    assert_eq!(limiter.enqueue(1).unwrap_err().reason(), Reason::QueueFull);
    drop(first);
    assert_eq!(limiter.stats().in_flight, 2, "handed over, not freed");
    assert_eq!(limiter.stats().refused(Reason::QueueFull), 2);
}

#[test]
fn asking_reserves_nothing() {
    let limiter = queued(1, 1);
    for _ in 0..1000 {
        assert!(limiter.readiness().is_ready());
        assert!(limiter.readiness_for(&Demand::weight(1)).is_ready());
    }
    assert!(limiter.try_acquire(1).is_ok());
}

#[test]
fn nobody_passes_the_queue_and_an_unclaimed_grant_passes_on() {
    let limiter = queued(1, 8);
    let permit = limiter.try_acquire(1).unwrap();
    let first = waiting(&limiter, Demand::ONE);
    let second = waiting(&limiter, Demand::ONE);
    assert_eq!((first.ahead(), second.ahead()), (0, 1));
    drop(permit);
    assert!(limiter.try_acquire(1).is_err(), "the unit belongs to the head of the queue");
    let TryClaimError::NotYet(second) = second.try_claim().unwrap_err() else { panic!("refused") };
    drop(first);
    let permit = second.try_claim().unwrap();
    assert_eq!(limiter.stats().in_flight, 1);
    drop(permit);
    assert_eq!(limiter.readiness(), Readiness::Ready { available: 1 });
}

#[test]
fn a_canceled_head_lets_the_next_in() {
    let limiter = queued(2, 8);
    let _held = limiter.try_acquire(1).unwrap();
    let large = waiting(&limiter, Demand::weight(2));
    // Smaller ones behind may pass at most eight times, and this one fits beside what is held.
    let small = waiting(&limiter, Demand::ONE);
    let permit = small.try_claim().unwrap();
    let next = waiting(&limiter, Demand::ONE);
    drop(large);
    drop(permit);
    assert!(next.try_claim().is_ok());
    assert_eq!(limiter.stats().canceled, 1);
}

#[test]
fn lowering_the_limit_pays_the_debt_before_serving() {
    let limiter = queued(4, 8);
    let mut held: Vec<_> = (0..4).map(|_| limiter.try_acquire(1).unwrap()).collect();
    let ticket = waiting(&limiter, Demand::ONE);
    limiter.set_limit(2);
    assert_eq!((limiter.stats().overcommitted, limiter.stats().in_flight), (2, 4));
    held.truncate(2);
    let TryClaimError::NotYet(ticket) = ticket.try_claim().unwrap_err() else { panic!("refused") };
    held.truncate(1);
    assert!(ticket.try_claim().is_ok());
}

#[test]
fn raising_the_limit_wakes_exactly_those_that_fit() {
    let limiter = queued(1, 8);
    let _held = limiter.try_acquire(1).unwrap();
    let tickets: Vec<_> = (0..5).map(|_| waiting(&limiter, Demand::ONE)).collect();
    limiter.set_limit(4);
    let admitted: Vec<_> = tickets.into_iter().map(tidegate::Ticket::try_claim).collect();
    let served: Vec<bool> = admitted.iter().map(Result::is_ok).collect();
    assert_eq!(served, [true, true, true, false, false]);
}

#[test]
fn more_than_the_whole_limit_is_admitted_alone() {
    let limiter = queued(4, 8);
    let held = limiter.try_acquire(1).unwrap();
    let huge = waiting(&limiter, Demand::weight(100));
    drop(held);
    let permit = huge.try_claim().unwrap();
    assert!(limiter.try_acquire(1).is_err());
    drop(permit);
    assert_eq!(limiter.readiness(), Readiness::Ready { available: 4 });
}

#[test]
fn important_work_displaces_the_newest_of_the_lowest_class() {
    let limiter = queued(1, 1);
    let _held = limiter.try_acquire(1).unwrap();
    let low = waiting(&limiter, Demand::ONE.class(Criticality::Sheddable));
    let _high = waiting(&limiter, Demand::ONE.class(Criticality::CriticalPlus));
    let TryClaimError::Refused(refused) = low.try_claim().unwrap_err() else { panic!("not told") };
    assert_eq!(refused.reason(), Reason::Displaced);
    assert_eq!(refused.limiter(), "test");
}

#[test]
fn holders_and_waiters_can_be_listed() {
    let limiter = Limiter::builder().limit(3).track_occupants(true).build().unwrap();
    let import = limiter.try_acquire(Demand::weight(3).holder("import")).unwrap();
    let report = waiting(&limiter, Demand::ONE.holder("report").class(Criticality::Sheddable));
    let holders = limiter.holders();
    assert_eq!((holders.len(), &*holders[0].who, holders[0].weight), (1, "import", 3));
    let waiters = limiter.waiters();
    assert_eq!((waiters.len(), &*waiters[0].who, waiters[0].class), (1, "report", Criticality::Sheddable));
    drop(import);
    assert_eq!(limiter.holders()[0].who, "report", "granted, so it holds");
    drop(report);
    assert!(limiter.holders().is_empty() && limiter.waiters().is_empty());
}

#[test]
fn draining_refuses_newcomers_and_serves_those_that_wait() {
    let limiter = queued(1, 8);
    let held = limiter.try_acquire(1).unwrap();
    let ticket = waiting(&limiter, Demand::ONE);
    let mut drained = pin!(limiter.drain());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(drained.as_mut().poll(&mut cx).is_pending());
    assert_eq!(limiter.enqueue(1).unwrap_err().reason(), Reason::Draining);
    assert!(matches!(limiter.readiness(), Readiness::Draining { .. }));
    drop(held);
    assert!(drained.as_mut().poll(&mut cx).is_pending());
    drop(ticket.try_claim().unwrap());
    let Poll::Ready(stats) = drained.as_mut().poll(&mut cx) else { panic!("not drained") };
    assert_eq!((stats.in_flight, stats.waiting), (0, 0));
}

#[test]
fn a_limit_that_makes_no_sense_is_told_how_to_be_mended() {
    for limit in [0, 1 << 60] {
        let error = Limiter::builder().limit(limit).build().unwrap_err().to_string();
        assert!(error.contains("limit is") && error.contains(':'), "{error}");
    }
}

#[test]
fn everything_can_be_sent_between_threads() {
    fn send_sync<T: Send + Sync>() {}
    send_sync::<Limiter>();
    send_sync::<tidegate::Permit>();
    send_sync::<tidegate::Ticket>();
    send_sync::<tidegate::Refused>();
}
