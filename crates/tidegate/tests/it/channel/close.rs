//! How a channel ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use tidegate::channel::{Closed, ReserveError, TryRecvError};

use super::{Rings, channel, drain, exactly, poll};

#[test]
fn a_receiver_that_goes_hands_back_what_waits() {
    let (sender, receiver) = channel(exactly(1));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    let mut waiting = sender.send((2, 1));
    let (rings, waker) = Rings::waker();
    assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
    let mut reserving = sender.reserve(1);
    assert!(poll(&mut reserving).is_pending());
    drop(receiver);
    assert_eq!(rings.heard(), 1);
    assert_eq!(poll(&mut waiting), Poll::Ready(Err(Closed((2, 1)))));
    assert!(matches!(poll(&mut reserving), Poll::Ready(Err(ReserveError::Closed))));
    assert_eq!(sender.offer((3, 1)), Err(Closed((3, 1))));
    assert!(sender.is_closed());
    let seen = sender.snapshot();
    assert_eq!((seen.free, seen.waiters, seen.tally.abandoned, seen.tally.returned), (1, 0, 1, 2));
}

#[test]
fn a_grant_that_the_receiver_did_not_live_to_see_is_given_back() {
    let (sender, mut receiver) = channel(exactly(1));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    let (mut sending, mut reserving) = (sender.send((2, 1)), sender.reserve(1));
    assert!(poll(&mut sending).is_pending() && poll(&mut reserving).is_pending());
    drain(&mut receiver); // granted to the first
    drop(receiver);
    assert_eq!(poll(&mut sending), Poll::Ready(Err(Closed((2, 1)))));
    assert!(matches!(poll(&mut reserving), Poll::Ready(Err(ReserveError::Closed))));
    assert_eq!(sender.snapshot().free, 1);
}

#[test]
fn a_closed_receiver_still_gets_what_was_promised() {
    let (sender, mut receiver) = channel(exactly(10));
    let permit = sender.try_reserve(1).unwrap();
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    receiver.close();
    assert_eq!(sender.offer((2, 1)), Err(Closed((2, 1))));
    assert_eq!(drain(&mut receiver), [1]);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    permit.send((3, 1)).unwrap();
    assert_eq!(drain(&mut receiver), [3]);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Over);
}

#[test]
fn the_last_sender_ends_the_channel_and_a_permit_holds_it_open() {
    let (sender, mut receiver) = channel(exactly(10));
    let permit = sender.try_reserve(1).unwrap();
    let other = sender.tagged("other");
    drop(sender);
    assert!(other.offer((1, 1)).unwrap().is_accepted());
    drop(other);
    assert_eq!(drain(&mut receiver), [1]);
    let (rings, waker) = Rings::waker();
    assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    drop(permit);
    assert_eq!(rings.heard(), 1, "the end is told");
    assert!(matches!(poll(&mut receiver.recv()), Poll::Ready(None)));
}

#[test]
fn a_sender_wakes_a_receiver_that_sleeps_and_no_other() {
    let (sender, mut receiver) = channel(exactly(10));
    let (rings, waker) = Rings::waker();
    assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    assert!(sender.offer((2, 1)).unwrap().is_accepted());
    assert_eq!(rings.heard(), 1);
    assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_ready());
    let last = sender.clone();
    drop(sender);
    drop(last);
    assert_eq!(drain(&mut receiver), [2]);
    assert!(matches!(poll(&mut receiver.recv()), Poll::Ready(None)));
}

#[test]
fn a_lease_outlives_both_ends() {
    let (sender, mut receiver) = channel(exactly(10));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    let lease = receiver.try_recv().unwrap();
    drop(receiver);
    drop(sender);
    assert_eq!(lease.0, 1);
}
