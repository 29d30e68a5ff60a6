//! Bytes are charged to the budget behind the channel as well, exactly as long as to the channel.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate::AskReady;
use tidegate::budget::Budget;
use tidegate::channel::{Closed, Overflow, ReserveError, Sent, Why};
use tokio::time::Instant;

use super::{Rings, channel, drain, exactly, poll};

#[test]
fn bytes_are_charged_to_both_from_reserve_to_drop() {
    let budget = Budget::new("process", 100);
    let (sender, mut receiver) = channel(exactly(50).budget(budget.clone()));
    let mut permit = sender.try_reserve(30).unwrap();
    assert_eq!(budget.used(), 30);
    permit.shrink_to(20);
    assert_eq!(budget.used(), 20);
    permit.send((1, 20)).unwrap();
    assert!(sender.offer((2, 10)).unwrap().is_accepted());
    assert_eq!(budget.used(), 30);
    let mut lease = receiver.try_recv().unwrap();
    assert_eq!(budget.used(), 30, "it is in hand");
    drop(lease.split(15));
    assert_eq!((budget.used(), sender.snapshot().leased_bytes), (15, 5));
    drop(lease);
    assert_eq!(budget.used(), 10);
    drop(sender.try_reserve(40).unwrap());
    assert_eq!(budget.used(), 10);
    drop(receiver);
    assert_eq!(budget.used(), 0, "what was queued is gone");
    assert_eq!(sender.offer((3, 1)), Err(Closed((3, 1))));
    assert_eq!(budget.used(), 0);
}

#[test]
fn who_does_not_wait_is_refused_for_memory() {
    let budget = Budget::new("process", 20);
    let other = budget.try_lease(15).unwrap();
    let (sender, _receiver) = channel(exactly(50).budget(budget.clone()));
    let Sent::Refused(full) = sender.offer((1, 10)).unwrap() else { panic!("there are five") };
    assert_eq!((full.item, full.need, full.free, full.why), ((1, 10), 10, 5, Why::Memory));
    assert!(matches!(sender.try_reserve(10), Err(ReserveError::Full(full)) if full.why == Why::Memory));
    assert!(!sender.readiness_for(&10.into()).is_ready() && sender.readiness_for(&5.into()).is_ready());
    assert_eq!(sender.snapshot().tally.refused(Why::Memory), 1);
    // More than there will ever be is not waited for.
    assert!(
        matches!(poll(&mut sender.send((2, 30))), Poll::Ready(Ok(Sent::Refused(full))) if full.why == Why::Memory)
    );
    drop(other);
    assert!(sender.offer((1, 10)).unwrap().is_accepted());

    let (second, mut behind) = channel(exactly(50));
    let (sender, _receiver) = channel(exactly(50).budget(budget).overflow(Overflow::Reroute(second)));
    assert_eq!(sender.offer((3, 15)).unwrap(), Sent::Rerouted);
    assert_eq!(drain(&mut behind), [3]);
}

#[test]
fn who_waits_is_woken_when_the_budget_has_room() {
    let budget = Budget::new("process", 20);
    let other = budget.try_lease(15).unwrap();
    let (sender, mut receiver) = channel(exactly(20).budget(budget.clone()));
    let mut sending = sender.send((1, 10));
    let (rings, waker) = Rings::waker();
    assert!(Pin::new(&mut sending).poll(&mut Context::from_waker(&waker)).is_pending());
    let mut reserving = sender.reserve(10);
    assert!(poll(&mut reserving).is_pending());
    let seen = sender.snapshot();
    assert_eq!((seen.reserved_bytes, seen.waiters), (20, 0), "they have their turn in the channel");
    drop(other);
    assert_eq!(rings.heard(), 1);
    assert_eq!(poll(&mut sending), Poll::Ready(Ok(Sent::Accepted)));
    let Poll::Ready(Ok(permit)) = poll(&mut reserving) else { panic!("there is room for both") };
    permit.send((2, 10)).unwrap();
    assert_eq!((drain(&mut receiver), budget.used()), (vec![1, 2], 0));
}

#[test]
fn one_that_leaves_the_budgets_line_gives_its_room_back() {
    let budget = Budget::new("process", 20);
    let other = budget.try_lease(20).unwrap();
    let (sender, mut receiver) = channel(exactly(10).budget(budget.clone()));
    let mut first = sender.send((1, 10));
    let mut second = sender.reserve(10);
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    assert_eq!((sender.snapshot().waiters, budget.waiting()), (1, 1), "one here, one there");
    assert_eq!(first.into_item(), Some((1, 10)));
    assert!(poll(&mut second).is_pending());
    assert_eq!((sender.snapshot().waiters, budget.waiting()), (0, 1), "now the next waits there");
    let mut third = sender.send((3, 10));
    assert!(poll(&mut third).is_pending());
    drop(other);
    drop(second);
    assert_eq!(poll(&mut third), Poll::Ready(Ok(Sent::Accepted)));
    assert_eq!((drain(&mut receiver), budget.used(), sender.snapshot().free), (vec![3], 0, 10));
}

#[test]
fn a_receiver_that_goes_is_heard_before_the_budget() {
    let budget = Budget::new("process", 20);
    let _other = budget.try_lease(20).unwrap();
    let (sender, receiver) = channel(exactly(20).budget(budget.clone()));
    let (mut sending, mut reserving) = (sender.send((1, 10)), sender.reserve(10));
    let (rings, waker) = Rings::waker();
    assert!(Pin::new(&mut sending).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(Pin::new(&mut reserving).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(receiver);
    assert_eq!(rings.heard(), 2);
    assert_eq!(poll(&mut sending), Poll::Ready(Err(Closed((1, 10)))));
    assert_eq!(poll(&mut reserving).map(|permit| permit.map(drop)), Poll::Ready(Err(ReserveError::Closed)));
    assert_eq!((sender.snapshot().free, budget.used()), (20, 20));
    drop((sending, reserving));
    assert_eq!(budget.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_counts_there_as_well() {
    let budget = Budget::new("process", 20);
    let _other = budget.try_lease(20).unwrap();
    let (sender, _receiver) = channel(exactly(20).budget(budget));
    let begin = Instant::now();
    let sent = sender.send_by((1, 10), begin + Duration::from_secs(2)).await.unwrap();
    let Sent::Refused(full) = sent else { panic!("there was no room") };
    assert_eq!((full.item, full.why, begin.elapsed().as_secs()), ((1, 10), Why::Expired, 2));
    assert_eq!(sender.snapshot().free, 20);
}

#[test]
fn the_bytes_of_the_displaced_serve_the_newcomer() {
    let budget = Budget::new("process", 20);
    let (sender, mut receiver) = channel(exactly(50).budget(budget.clone()).overflow(Overflow::DropOldest));
    for bag in [(1, 8), (2, 8)] {
        assert!(sender.offer(bag).unwrap().is_accepted());
    }
    let _other = budget.try_lease(4).unwrap();
    // The channel has room, the budget has none.
    assert_eq!(sender.offer((3, 12)).unwrap(), Sent::Displaced(vec![(1, 8), (2, 8)]));
    assert_eq!(budget.used(), 16);
    let Sent::Refused(full) = sender.offer((4, 14)).unwrap() else { panic!("twelve would not do") };
    assert_eq!((full.item, full.why), ((4, 14), Why::Memory), "nobody is displaced in vain");
    assert_eq!((drain(&mut receiver), budget.used()), (vec![3], 4));
}

#[test]
fn a_charge_that_moves_is_never_charged_twice_above() {
    let process = Budget::new("process", 20);
    let (here, there) = (process.child("here").build(), process.child("there").build());
    let (from, mut receiver) = channel(exactly(20).budget(here.clone()));
    let (to, _to) = channel(exactly(20).budget(there.clone()));
    let (plain, _plain) = channel(exactly(20));
    assert!(from.offer((1, 15)).unwrap().is_accepted());
    // There would be no room for a second charge.
    let lease = receiver.try_recv().unwrap().transfer(&to).unwrap();
    assert_eq!((here.used(), there.used(), process.used(), process.peak()), (0, 15, 15, 15));
    // A channel without room, behind the same process: it stays as it was.
    let (full, _full) = channel(exactly(10).budget(here.clone()));
    let lease = lease.transfer(&full).unwrap_err();
    assert_eq!((here.used(), there.used(), to.snapshot().leased_bytes), (0, 15, 15));
    let lease = lease.transfer(&plain).unwrap();
    assert_eq!((process.used(), plain.snapshot().leased_bytes), (0, 15));
    let lease = lease.transfer(&from).unwrap();
    assert_eq!((here.used(), plain.snapshot().leased_bytes), (15, 0));
    drop(lease);
    assert_eq!((process.used(), from.snapshot().free), (0, 20));
}
