//! Every interleaving of those that take, wait, give back and leave: one lock for the tree, one for each seat.
//!
//! `RUSTFLAGS="--cfg tidegate_loom" cargo test -p tidegate --features stream --lib --release loom_budget`

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use super::*;

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Explores with at most three preemptions: enough for every race of two or three steps, in seconds.
fn explore(race: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(race);
}

fn poll(leasing: &mut Leasing, rings: &Arc<Rings>) -> Poll<Result<Lease, Full>> {
    let waker = Waker::from(Arc::clone(rings));
    Pin::new(leasing).poll(&mut Context::from_waker(&waker))
}

fn whole(budget: &Budget) {
    assert_eq!((budget.used(), budget.waiting()), (0, 0));
    assert!(budget.try_lease(budget.limit()).is_ok());
}

#[test]
fn loom_budget_a_waker_is_rung_or_the_bytes_are_seen() {
    explore(|| {
        let budget = Budget::new("budget", 2);
        let held = budget.try_lease(2).unwrap();
        let releaser = thread::spawn(move || drop(held));
        let rings = Arc::new(Rings::default());
        let mut leasing = budget.lease(2);
        let first = poll(&mut leasing, &rings);
        releaser.join().unwrap();
        if first.is_pending() {
            assert_eq!(rings.0.load(Ordering::SeqCst), 1, "a sleeper was forgotten");
            assert!(poll(&mut leasing, &rings).is_ready());
        }
        drop((first, leasing));
        whole(&budget);
    });
}

#[test]
fn loom_budget_who_leaves_passes_its_bytes_on() {
    explore(|| {
        let budget = Budget::new("budget", 2);
        let held = budget.try_lease(2).unwrap();
        let rings = Arc::new(Rings::default());
        let (mut first, mut second) = (budget.lease(2), budget.lease(1));
        assert!(poll(&mut first, &rings).is_pending());
        assert!(poll(&mut second, &rings).is_pending());
        let releaser = thread::spawn(move || drop(held));
        let leaver = thread::spawn(move || drop(first));
        releaser.join().unwrap();
        leaver.join().unwrap();
        assert!(poll(&mut second, &rings).is_ready(), "handed over, or passed on");
        drop(second);
        whole(&budget);
    });
}

#[test]
fn loom_budget_two_ways_up_share_one_number() {
    explore(|| {
        let process = Budget::new("process", 3);
        let ways = [2, 2].map(|limit| process.child("way").limit(limit).build());
        let take = |way: Budget| {
            move || {
                let lease = way.try_lease(2);
                let held = lease.is_ok();
                drop(lease);
                held
            }
        };
        let [one, two] = ways;
        let other = thread::spawn(take(two));
        let mine = take(one)();
        let theirs = other.join().unwrap();
        assert!(mine || theirs, "one of them found the room");
        assert!(process.peak() <= 3);
        whole(&process);
    });
}

#[test]
fn loom_budget_a_lease_moves_beside_a_waiter() {
    explore(|| {
        let process = Budget::new("process", 2);
        let [one, two] = ["one", "two"].map(|name| process.child(name).limit(1).build());
        let mut lease = one.try_lease(1).unwrap();
        let rings = Arc::new(Rings::default());
        let mut leasing = one.lease(1);
        assert!(poll(&mut leasing, &rings).is_pending());
        let target = two.clone();
        let mover = thread::spawn(move || {
            lease.transfer(&target).unwrap();
            lease
        });
        let early = poll(&mut leasing, &rings);
        let lease = mover.join().unwrap();
        if early.is_pending() {
            assert_eq!(rings.0.load(Ordering::SeqCst), 1);
            assert!(poll(&mut leasing, &rings).is_ready());
        }
        assert!(process.peak() <= 2);
        drop((early, lease, leasing));
        whole(&process);
    });
}

#[test]
fn loom_budget_a_grant_is_fetched_or_lapses_and_never_both() {
    explore(|| {
        let mut desk = super::desk::Desk::new("budget".into(), 2, 0, 8);
        let seat = Arc::new(super::seat::Seat::new(1, desk.1, 2, Urgency::InProgress));
        assert!(seat.grant(&mut crate::wakes::Wakes::default()));
        let other = Arc::clone(&seat);
        let taker = thread::spawn(move || match other.poll(Waker::noop()) {
            Poll::Ready(super::seat::Told::Granted) => true,
            Poll::Ready(super::seat::Told::Lapsed) => false,
            told => panic!("{told:?}"),
        });
        let lapsed = seat.lapse();
        assert_eq!(taker.join().unwrap(), !lapsed);
        assert!(!seat.lapse() && !seat.is_unclaimed());
        desk.0.close(desk.1, &crate::clock::Clock::start(), &mut crate::wakes::Wakes::default());
    });
}
