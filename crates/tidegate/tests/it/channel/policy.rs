//! What happens when there is no room: whatever becomes of an item, it is in the answer and in the tally.

use tidegate::AskReady;
use tidegate::channel::{Overflow, Oversize, Sent, Why};

use super::{Bag, channel, drain, exactly, poll};

#[test]
fn bytes_are_held_until_the_lease_is_dropped() {
    let (sender, mut receiver) = channel(exactly(10));
    assert!(sender.offer((1, 6)).unwrap().is_accepted());
    let Sent::Refused(full) = sender.offer((2, 6)).unwrap() else { panic!("there are four") };
    assert_eq!((full.item, full.need, full.free, full.why), ((2, 6), 6, 4, Why::NoRoom));

    let lease = receiver.try_recv().unwrap();
    assert_eq!((lease.0, lease.bytes()), (1, 6));
    assert!(!sender.offer((2, 6)).unwrap().is_accepted(), "it is still in hand");
    let seen = sender.snapshot();
    assert_eq!(
        (seen.items, seen.queued_bytes, seen.leased_items, seen.leased_bytes, seen.free),
        (0, 0, 1, 6, 4)
    );
    drop(lease);
    assert!(sender.offer((2, 6)).unwrap().is_accepted());
    assert_eq!(drain(&mut receiver), [2]);
    let tally = sender.snapshot().tally;
    assert_eq!((tally.accepted, tally.delivered, tally.refused(Why::NoRoom)), (2, 2, 2));
}

#[test]
fn items_are_a_bound_as_well() {
    let (sender, mut receiver) = channel(exactly(1000).max_items(2));
    assert!(sender.offer((1, 0)).unwrap().is_accepted());
    assert!(sender.offer((2, 0)).unwrap().is_accepted());
    assert!(!sender.offer((3, 0)).unwrap().is_accepted());
    let lease = receiver.try_recv().unwrap();
    assert!(!sender.offer((3, 0)).unwrap().is_accepted(), "it is still in hand");
    drop(lease);
    assert!(sender.offer((3, 0)).unwrap().is_accepted());
}

#[test]
fn the_newest_or_the_oldest_is_displaced_and_handed_back() {
    let (sender, mut receiver) = channel(exactly(10).overflow(Overflow::DropNewest));
    assert!(sender.offer((1, 10)).unwrap().is_accepted());
    assert_eq!(sender.offer((2, 1)).unwrap(), Sent::Displaced(vec![(2, 1)]));
    assert_eq!(drain(&mut receiver), [1]);
    assert_eq!(sender.snapshot().tally.displaced_newest, 1);

    let (sender, mut receiver) = channel(exactly(10).overflow(Overflow::DropOldest));
    for bag in [(1, 3), (2, 3), (3, 3)] {
        assert!(sender.offer(bag).unwrap().is_accepted());
    }
    assert_eq!(sender.offer((4, 5)).unwrap(), Sent::Displaced(vec![(1, 3), (2, 3)]));
    assert_eq!(drain(&mut receiver), [3, 4]);
    let tally = sender.snapshot().tally;
    assert_eq!((tally.accepted, tally.displaced_oldest, tally.delivered), (4, 2, 2));
}

#[test]
fn what_is_in_hand_is_never_displaced() {
    let (sender, mut receiver) = channel(exactly(10).overflow(Overflow::DropOldest));
    assert!(sender.offer((1, 6)).unwrap().is_accepted());
    let lease = receiver.try_recv().unwrap();
    assert!(sender.offer((2, 4)).unwrap().is_accepted());
    let Sent::Refused(full) = sender.offer((3, 5)).unwrap() else { panic!("six are in hand") };
    assert_eq!(full.item, (3, 5));
    assert_eq!(sender.offer((4, 4)).unwrap(), Sent::Displaced(vec![(2, 4)]), "nobody was displaced in vain");
    drop(lease);
    assert_eq!(drain(&mut receiver), [4]);
}

#[test]
fn another_channel_takes_what_does_not_fit() {
    let (second, mut other) = channel(exactly(5));
    let (sender, mut receiver) = channel(exactly(5).overflow(Overflow::Reroute(second)));
    assert!(sender.offer((1, 5)).unwrap().is_accepted());
    assert_eq!(sender.offer((2, 5)).unwrap(), Sent::Rerouted);
    let Sent::Refused(full) = sender.offer((3, 5)).unwrap() else { panic!("both are full") };
    assert_eq!(full.item, (3, 5));
    assert_eq!((drain(&mut receiver), drain(&mut other)), (vec![1], vec![2]));
    let tally = sender.snapshot().tally;
    assert_eq!((tally.accepted, tally.rerouted, tally.refused_in_all(), tally.settled()), (1, 1, 1, 3));
    // The other channel ends when nobody can be rerouted any more, although a lease of the first lives on.
    assert!(sender.offer((4, 5)).unwrap().is_accepted());
    let lease = receiver.try_recv().unwrap();
    drop(sender);
    assert_eq!(other.try_recv().unwrap_err().to_string(), "nothing will come any more");
    drop(lease);
}

#[test]
fn what_a_rerouted_item_displaces_comes_back_too() {
    let (second, mut other) = channel(exactly(5).overflow(Overflow::DropOldest));
    let (sender, _receiver) = channel(exactly(5).overflow(Overflow::Reroute(second)));
    assert!(sender.offer((1, 5)).unwrap().is_accepted());
    assert_eq!(sender.offer((2, 5)).unwrap(), Sent::Rerouted);
    assert_eq!(sender.offer((3, 5)).unwrap(), Sent::Displaced(vec![(2, 5)]));
    assert_eq!(drain(&mut other), [3]);

    // Where the newest leaves, it is the one that came: it was not taken.
    let (second, _other) = channel(exactly(5).overflow(Overflow::DropNewest));
    let (sender, _receiver) = channel(exactly(5).overflow(Overflow::Reroute(second)));
    assert!(sender.offer((1, 5)).unwrap().is_accepted());
    assert_eq!(sender.offer((2, 5)).unwrap(), Sent::Rerouted);
    assert!(matches!(sender.offer((3, 5)).unwrap(), Sent::Refused(full) if full.item == (3, 5)));
}

#[test]
fn channels_behind_each_other_are_bounded() {
    let (mut last, _receiver) = channel(exactly(1));
    let mut receivers = Vec::new();
    for _ in 0..8 {
        let (sender, receiver) = channel(exactly(1).overflow(Overflow::Reroute(last)));
        receivers.push(receiver);
        last = sender;
    }
    assert!(exactly(1).overflow(Overflow::Reroute(last)).build().is_err());
}

#[test]
fn an_oversize_item_is_refused_or_admitted_alone() {
    let (sender, _receiver) = channel(exactly(10));
    let Sent::Refused(full) = sender.offer((1, 11)).unwrap() else { panic!("it is larger than the channel") };
    assert_eq!((full.why, full.retry_after), (Why::Oversize, None));

    let (sender, mut receiver) = channel(exactly(10).oversize(Oversize::AdmitAlone));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    assert!(!sender.offer((2, 11)).unwrap().is_accepted(), "not beside another");
    let mut large = sender.send((2, 11));
    assert!(poll(&mut large).is_pending());
    assert_eq!(drain(&mut receiver), [1]);
    assert!(poll(&mut large).is_ready());
    assert!(!sender.offer((3, 1)).unwrap().is_accepted(), "it is alone");
    assert_eq!(sender.snapshot().free, 0);
    assert_eq!(drain(&mut receiver), [2]);
    assert!(sender.offer((3, 1)).unwrap().is_accepted());
}

#[test]
fn it_can_be_asked_without_waiting() {
    let (sender, mut receiver) = channel(exactly(10).max_waiters(1));
    assert!(sender.readiness().is_ready());
    assert!(sender.offer((1, 10)).unwrap().is_accepted());
    assert!(sender.readiness().is_accepting() && !sender.readiness().is_ready());
    let mut waiting = sender.send((2, 10));
    assert!(poll(&mut waiting).is_pending());
    assert!(!sender.readiness().is_accepting(), "the line is full");
    drop(waiting);
    drain(&mut receiver);
    drop(receiver);
    assert!(!sender.readiness().is_accepting());
}

#[test]
fn a_charge_is_split_moved_and_given_up() {
    let (sender, mut receiver) = channel(exactly(10));
    let (other, _other_receiver) = channel(exactly(10));
    assert!(sender.offer((1, 8)).unwrap().is_accepted());
    let mut lease = receiver.try_recv().unwrap();
    let part = lease.split(3);
    assert_eq!((part.bytes(), lease.bytes(), sender.snapshot().leased_bytes), (3, 5, 8));
    drop(part);
    assert_eq!(sender.snapshot().leased_bytes, 5);

    let lease = lease.transfer(&other).unwrap();
    assert_eq!((sender.snapshot().free, other.snapshot().leased_bytes), (10, 5));
    assert!(other.offer((2, 6)).unwrap().into_result().is_err());
    // And back, where somebody has the room meanwhile.
    assert!(sender.offer((3, 8)).unwrap().is_accepted());
    let lease = lease.transfer(&sender).unwrap_err();
    assert_eq!((lease.bytes(), other.snapshot().leased_bytes), (5, 5));

    let bag: Bag = lease.into_inner();
    assert_eq!(bag, (1, 8));
    assert_eq!((other.snapshot().leased_bytes, other.snapshot().tally.unaccounted_bytes), (0, 5));

    let (item, charge) = receiver.try_recv().unwrap().map(|bag| bag.0).into_parts();
    assert_eq!((item, charge.bytes(), sender.snapshot().leased_bytes), (3, 8, 8));
    drop(charge);
    assert_eq!(sender.snapshot().free, 10);
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    assert!(exactly(0).build().is_err());
    assert!(exactly(1).max_items(0).build().is_err());
    assert!(exactly(1).min_bytes(2).build().is_err());
    assert!(exactly(1).target_delay(std::time::Duration::ZERO).build().is_err());
}
