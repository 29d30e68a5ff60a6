//! Every interleaving of the races over the credit: wait, cancel, release, hand-over, close.
//!
//! `RUSTFLAGS="--cfg tidegate_loom" cargo test -p tidegate --features stream --lib --release loom`

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use super::*;

#[derive(Default)]
struct Rings(AtomicUsize);

impl Rings {
    fn waker() -> (Arc<Self>, Waker) {
        let rings = Arc::new(Self::default());
        (Arc::clone(&rings), Waker::from(rings))
    }

    fn heard(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

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

/// A channel of so many bytes. The sender lives for ever, so that its futures can go to other threads.
fn channel(bytes: u64) -> (&'static Sender<u64>, Receiver<u64>) {
    let config = Config::weighing(bytes, |item: &u64| *item).per_item(0);
    let (sender, receiver) = config.build().unwrap();
    (Box::leak(Box::new(sender)), receiver)
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// What was polled, or is when it is polled again, which its waker has heard of.
fn granted<T>(polled: Poll<T>, rings: &Rings, again: impl FnOnce() -> Poll<T>) -> T {
    if let Poll::Ready(permit) = polled {
        return permit;
    }
    assert_eq!(rings.heard(), 1, "a sleeper was forgotten");
    let Poll::Ready(permit) = again() else { panic!("it was granted") };
    permit
}

fn whole(sender: &Sender<u64>, bytes: u64) {
    let seen = sender.snapshot();
    assert_eq!(
        (seen.free, seen.waiters, seen.reserved_items, seen.leased_items),
        (bytes, 0, 0, 0),
        "{seen:?}"
    );
}

fn lease(sender: &Sender<u64>, receiver: &mut Receiver<u64>, bytes: u64) -> Leased<u64> {
    assert!(sender.offer(bytes).unwrap().is_accepted());
    receiver.try_recv().unwrap()
}

#[test]
fn loom_a_release_is_never_lost_to_a_newcomer() {
    explore(|| {
        let (sender, mut receiver) = channel(1);
        let lease = lease(sender, &mut receiver, 1);
        let releaser = thread::spawn(move || drop(lease));
        let (rings, waker) = Rings::waker();
        let mut reserve = sender.reserve(1);
        let polled = poll(&mut reserve, &waker);
        releaser.join().unwrap();
        drop(granted(polled, &rings, || poll(&mut reserve, &waker)).unwrap());
        whole(sender, 1);
    });
}

#[test]
fn loom_two_releases_make_room_for_one_that_waits() {
    explore(|| {
        let (sender, mut receiver) = channel(2);
        let one = lease(sender, &mut receiver, 1);
        let other = lease(sender, &mut receiver, 1);
        let releaser = thread::spawn(move || drop(one));
        let second = thread::spawn(move || drop(other));
        let (rings, waker) = Rings::waker();
        let mut sending = sender.send(2);
        let polled = poll(&mut sending, &waker);
        releaser.join().unwrap();
        second.join().unwrap();
        if polled.is_pending() {
            assert_eq!(rings.heard(), 1, "a sleeper was forgotten");
            assert!(poll(&mut sending, &waker).is_ready());
        }
        assert_eq!(*receiver.try_recv().unwrap(), 2);
        whole(sender, 2);
    });
}

#[test]
fn loom_a_cancel_races_the_hand_over() {
    explore(|| {
        let (sender, mut receiver) = channel(1);
        let lease = lease(sender, &mut receiver, 1);
        let (mut first, mut second) = (sender.reserve(1), sender.reserve(1));
        let (rings, waker) = Rings::waker();
        assert!(poll(&mut first, Waker::noop()).is_pending());
        assert!(poll(&mut second, &waker).is_pending());
        let releaser = thread::spawn(move || drop(lease));
        let leaver = thread::spawn(move || drop(first));
        releaser.join().unwrap();
        leaver.join().unwrap();
        assert_eq!(rings.heard(), 1, "the next was forgotten");
        assert!(poll(&mut second, &waker).is_ready());
        whole(sender, 1);
    });
}

#[test]
fn loom_the_receiver_goes_while_one_waits_and_one_releases() {
    explore(|| {
        let (sender, mut receiver) = channel(1);
        let lease = lease(sender, &mut receiver, 1);
        let (rings, waker) = Rings::waker();
        let mut sending = sender.send(1);
        assert!(poll(&mut sending, &waker).is_pending());
        let releaser = thread::spawn(move || drop(lease));
        let closer = thread::spawn(move || drop(receiver));
        releaser.join().unwrap();
        closer.join().unwrap();
        assert!(rings.heard() >= 1, "a sleeper was forgotten");
        assert_eq!(poll(&mut sending, &waker), Poll::Ready(Err(Closed(1))));
        whole(sender, 1);
    });
}

#[test]
fn loom_a_receiver_that_falls_asleep_is_rung_or_sees_the_item() {
    explore(|| {
        let (sender, mut receiver) = channel(1);
        let putter = thread::spawn(move || assert!(sender.offer(1).unwrap().is_accepted()));
        let (rings, waker) = Rings::waker();
        let polled = receiver.poll_recv(&mut Context::from_waker(&waker));
        putter.join().unwrap();
        if polled.is_pending() {
            assert_eq!(rings.heard(), 1, "the receiver was forgotten");
            assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_ready());
        }
        drop(polled);
        whole(sender, 1);
    });
}

#[test]
fn loom_the_last_sender_goes_while_the_receiver_falls_asleep() {
    explore(|| {
        let config = Config::weighing(1, |item: &u64| *item).per_item(0);
        let (sender, mut receiver) = config.build().unwrap();
        let permit = sender.try_reserve(1).unwrap();
        let one = thread::spawn(move || drop(sender));
        let other = thread::spawn(move || drop(permit));
        let (rings, waker) = Rings::waker();
        let polled = receiver.poll_recv(&mut Context::from_waker(&waker));
        one.join().unwrap();
        other.join().unwrap();
        if polled.is_pending() {
            assert_eq!(rings.heard(), 1, "nobody told the end");
        }
        assert!(matches!(receiver.poll_recv(&mut Context::from_waker(&waker)), Poll::Ready(None)));
    });
}

#[test]
fn loom_the_receiver_takes_while_policy_displaces() {
    explore(|| {
        let config = Config::weighing(2, |item: &u64| *item).per_item(0);
        let (sender, mut receiver) = config.overflow(Overflow::DropOldest).build().unwrap();
        assert!(sender.offer(1).unwrap().is_accepted());
        assert!(sender.offer(1).unwrap().is_accepted());
        let other = sender.clone();
        let putter = thread::spawn(move || other.offer(2).unwrap().into_returned().count());
        let mut received = 0;
        let mut kept = Vec::new();
        while let Ok(lease) = receiver.try_recv() {
            received += 1;
            kept.push(lease);
        }
        let returned = putter.join().unwrap();
        drop(kept);
        received += std::iter::from_fn(|| receiver.try_recv().ok()).count();
        assert_eq!(received + returned, 3, "an item is missing, or there are too many");
        whole(&sender, 2);
    });
}

/// Items that come in quick succession are taken beside the outlet, as long as they are alone.
#[test]
fn loom_what_is_taken_beside_the_outlet_makes_room_for_who_waits() {
    explore(|| {
        let (sender, mut receiver) = channel(1);
        for _ in 0..5 {
            drop(lease(sender, &mut receiver, 1));
        }
        assert!(sender.offer(1).unwrap().is_accepted());
        let taker = thread::spawn(move || {
            drop(receiver.try_recv().unwrap());
            receiver
        });
        let (rings, waker) = Rings::waker();
        let mut reserve = sender.reserve(1);
        let polled = poll(&mut reserve, &waker);
        let receiver = taker.join().unwrap();
        drop(granted(polled, &rings, || poll(&mut reserve, &waker)).unwrap());
        whole(sender, 1);
        drop(receiver);
    });
}

#[test]
fn loom_charges_move_towards_each_other() {
    explore(|| {
        let (left, mut left_receiver) = channel(2);
        let (right, mut right_receiver) = channel(2);
        let here = lease(left, &mut left_receiver, 1);
        let there = lease(right, &mut right_receiver, 1);
        let mover = thread::spawn(move || drop(here.transfer(right).unwrap()));
        drop(there.transfer(left).unwrap());
        mover.join().unwrap();
        whole(left, 2);
        whole(right, 2);
    });
}
