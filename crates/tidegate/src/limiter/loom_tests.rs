//! Every interleaving of the races over the word and the desk: acquire, cancel, shrink, hand-over.
//!
//! `RUSTFLAGS="--cfg tidegate_loom" cargo test -p tidegate --lib --release loom`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};

use loom::thread;

use super::*;
use crate::Demand;
use crate::sync::lock;

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn limiter(limit: u64) -> Limiter {
    Limiter::builder().limit(limit).queue(QueueConfig::bounded(4)).build().unwrap()
}

/// Explores with at most three preemptions: enough for every race of two or three steps, in seconds.
fn explore(race: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(race);
}

fn whole(limiter: &Limiter, limit: u64) {
    let stats = limiter.stats();
    assert_eq!((stats.in_flight, stats.available, stats.waiting, stats.limit), (0, limit, 0, limit));
    assert!(limiter.readiness().is_ready(), "the way is open again");
}

fn enter(limiter: &Limiter) -> Option<Ticket> {
    match limiter.enqueue(Demand::ONE).unwrap() {
        Admission::Admitted(permit) => {
            drop(permit);
            None
        }
        Admission::Waiting(ticket) => Some(ticket),
    }
}

#[test]
fn loom_a_release_is_never_lost_to_a_newcomer() {
    explore(|| {
        let limiter = limiter(1);
        let held = limiter.try_acquire(Demand::ONE).unwrap();
        let releaser = thread::spawn(move || drop(held));
        let ticket = enter(&limiter);
        releaser.join().unwrap();
        if let Some(ticket) = ticket {
            drop(ticket.try_claim().unwrap());
        }
        whole(&limiter, 1);
    });
}

#[test]
fn loom_a_cancel_races_the_hand_over() {
    explore(|| {
        let limiter = limiter(1);
        let held = limiter.try_acquire(Demand::ONE).unwrap();
        let first = enter(&limiter).unwrap();
        let second = enter(&limiter).unwrap();
        let releaser = thread::spawn(move || drop(held));
        let leaver = thread::spawn(move || drop(first));
        releaser.join().unwrap();
        leaver.join().unwrap();
        drop(second.try_claim().unwrap());
        whole(&limiter, 1);
    });
}

#[test]
fn loom_a_shrink_races_releases_and_newcomers() {
    explore(|| {
        let limiter = limiter(2);
        let held = limiter.try_acquire(Demand::weight(2)).unwrap();
        let releaser = thread::spawn(move || drop(held));
        let other = limiter.clone();
        let newcomer = thread::spawn(move || other.try_acquire(Demand::ONE).is_ok());
        limiter.set_limit(1);
        let again = limiter.try_acquire(Demand::ONE);
        releaser.join().unwrap();
        newcomer.join().unwrap();
        drop(again);
        whole(&limiter, 1);
    });
}

#[test]
fn loom_two_newcomers_race_for_the_last_unit() {
    explore(|| {
        let limiter = limiter(1);
        let held = Arc::new(AtomicUsize::new(0));
        let take = |limiter: Limiter, held: Arc<AtomicUsize>| {
            move || {
                if let Ok(permit) = limiter.try_acquire(Demand::ONE) {
                    assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0, "two hold one unit");
                    held.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            }
        };
        let one = thread::spawn(take(limiter.clone(), Arc::clone(&held)));
        let two = thread::spawn(take(limiter.clone(), held));
        one.join().unwrap();
        two.join().unwrap();
        whole(&limiter, 1);
    });
}

#[test]
fn loom_a_waker_is_rung_or_the_grant_is_seen() {
    explore(|| {
        let limiter = limiter(1);
        let held = limiter.try_acquire(Demand::ONE).unwrap();
        let mut ticket = enter(&limiter).unwrap();
        let releaser = thread::spawn(move || drop(held));
        let rings = Arc::new(Rings::default());
        let waker = Waker::from(Arc::clone(&rings));
        let polled = std::pin::Pin::new(&mut ticket).poll(&mut std::task::Context::from_waker(&waker));
        releaser.join().unwrap();
        match polled {
            Poll::Ready(permit) => drop(permit),
            Poll::Pending => {
                assert_eq!(rings.0.load(Ordering::SeqCst), 1, "a sleeper was forgotten");
                drop(ticket.try_claim().unwrap());
            }
        }
        whole(&limiter, 1);
    });
}

/// A waiter that leans on an alarm: released units go to it without touching the word.
fn leaning(limiter: &Limiter, waker: Waker) -> Ticket {
    let shared = limiter.shared();
    let mut desk = lock(&shared.desk);
    desk.enter(shared, 1);
    let since = desk.now();
    let seat = desk.grants.seat(&shared.seats).unwrap();
    let (place, waiter) = desk.queue.push_free(Demand::ONE.class, 1, since).unwrap();
    waiter.seat = seat;
    waiter.waker = Some(waker);
    waiter.leans = Some(0);
    waiter.expires = u64::MAX;
    shared.gate.set_waiting(true);
    drop(desk);
    let joined = super::lane::Joined { seat, place, since };
    let terms = super::door::Terms { id: 1, expires: u64::MAX, short: true };
    Ticket::parked(limiter.clone(), joined, terms, &Demand::ONE)
}

#[test]
fn loom_units_from_hand_to_hand_are_claimed_or_pass_on() {
    explore(|| {
        let limiter = limiter(1);
        let held = limiter.try_acquire(Demand::ONE).unwrap();
        let rings = Arc::new(Rings::default());
        let first = leaning(&limiter, Waker::from(Arc::clone(&rings)));
        let second = leaning(&limiter, Waker::from(Arc::clone(&rings)));
        let releaser = thread::spawn(move || drop(held));
        // It claims, or leaves its place, or a grant that it has not seen.
        let claimer = thread::spawn(move || drop(first.try_claim()));
        releaser.join().unwrap();
        claimer.join().unwrap();
        drop(second.try_claim().unwrap());
        assert!(rings.0.load(Ordering::SeqCst) >= 1, "a sleeper was forgotten");
        whole(&limiter, 1);
    });
}

#[test]
fn loom_a_newcomer_never_takes_what_goes_from_hand_to_hand() {
    explore(|| {
        let limiter = limiter(1);
        let held = limiter.try_acquire(Demand::ONE).unwrap();
        let first = leaning(&limiter, Waker::noop().clone());
        let releaser = thread::spawn(move || drop(held));
        let other = limiter.clone();
        let newcomer = thread::spawn(move || other.try_acquire(Demand::ONE).is_ok());
        releaser.join().unwrap();
        assert!(!newcomer.join().unwrap(), "the unit was promised");
        drop(first.try_claim().unwrap());
        whole(&limiter, 1);
    });
}

/// A seat that somebody waits on.
fn seat() -> super::seat::Seat {
    let seat = super::seat::Seat::new();
    seat.open();
    seat
}

#[test]
fn loom_a_claim_races_a_revocation() {
    explore(|| {
        let seat = Arc::new(seat());
        let grant = super::seat::Grant { at: 7, exact: true, holder: Some(3) };
        assert!(seat.grant(grant, 2, Demand::ONE.class));
        let claimer = Arc::clone(&seat);
        let claimer = thread::spawn(move || claimer.take());
        let revoked = seat.revoke(|| crate::Refused::new(crate::Reason::Expired, "loom".into()));
        match claimer.join().unwrap() {
            Some(Ok(claimed)) => assert_eq!((claimed, revoked), (grant, None)),
            Some(Err(refused)) => {
                assert_eq!((refused.reason(), revoked), (crate::Reason::Expired, Some(grant)))
            }
            None => panic!("it had an answer"),
        }
        assert!(seat.take().is_none(), "one answer");
    });
}

#[test]
fn loom_a_revocation_that_loses_is_no_refusal() {
    explore(|| {
        let limiter = limiter(1);
        let held = limiter.try_acquire(Demand::ONE).unwrap();
        let ticket = enter(&limiter).unwrap();
        drop(held);
        let claimer = thread::spawn(move || ticket.try_claim());
        lock(&limiter.shared().desk).take_back(limiter.shared(), 0);
        let refused = match claimer.join().unwrap() {
            Ok(permit) => {
                drop(permit);
                0
            }
            Err(TryClaimError::Refused(_)) => 1,
            Err(TryClaimError::NotYet(_)) => panic!("it had an answer"),
        };
        let stats = limiter.stats();
        assert_eq!((stats.refused_total(), stats.expired), (refused, refused));
        whole(&limiter, 1);
    });
}

#[test]
fn loom_a_seat_is_anothers_only_when_its_answer_is_taken() {
    explore(|| {
        let seat = Arc::new(seat());
        assert!(seat.refuse(crate::Refused::new(crate::Reason::Expired, "loom".into())));
        let taker = Arc::clone(&seat);
        let taker = thread::spawn(move || taker.take());
        if seat.has_left() {
            seat.open();
            assert!(seat.refuse(crate::Refused::new(crate::Reason::Displaced, "loom".into())));
        }
        match taker.join().unwrap() {
            Some(Err(refused)) => assert_eq!(refused.reason(), crate::Reason::Expired),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn loom_a_grant_is_seen_whole() {
    explore(|| {
        let seat = Arc::new(seat());
        let grant = super::seat::Grant { at: 7, exact: false, holder: Some(3) };
        let granter = Arc::clone(&seat);
        let granter = thread::spawn(move || assert!(granter.grant(grant, 2, Demand::ONE.class)));
        let early = seat.take();
        granter.join().unwrap();
        let answer = early.or_else(|| seat.take());
        assert_eq!(answer.unwrap().unwrap(), grant);
    });
}
