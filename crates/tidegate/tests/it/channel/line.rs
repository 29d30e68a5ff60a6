//! Those that wait: in turn, bounded, and never forgotten.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate::channel::{ReserveError, Sent, Why};
use tokio::time::{Instant, advance};

use super::{Rings, channel, drain, exactly, poll};

#[test]
fn a_release_hands_the_room_over_and_wakes_once() {
    let (sender, mut receiver) = channel(exactly(1));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    let mut waiting = sender.send((2, 1));
    let (rings, waker) = Rings::waker();
    assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
    let lease = receiver.try_recv().unwrap();
    assert_eq!(rings.heard(), 0);
    drop(lease);
    assert_eq!(rings.heard(), 1);
    assert!(!sender.offer((3, 1)).unwrap().is_accepted(), "the room is the waiting one's");
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(Sent::Accepted))));
    assert!(poll(&mut waiting).is_pending(), "it has resolved");
    assert_eq!(drain(&mut receiver), [2]);
}

#[test]
fn a_head_that_leaves_wakes_the_next() {
    let (sender, mut receiver) = channel(exactly(10));
    assert!(sender.offer((1, 6)).unwrap().is_accepted());
    let mut large = sender.send((2, 10));
    assert!(poll(&mut large).is_pending());
    // Eight small ones may pass, and go on until the head is served.
    for small in 0..8 {
        assert!(matches!(poll(&mut sender.send((10 + small, 0))), Poll::Ready(Ok(Sent::Accepted))));
    }
    let mut ninth = sender.send((20, 0));
    let (rings, waker) = Rings::waker();
    assert!(Pin::new(&mut ninth).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(large);
    assert_eq!(rings.heard(), 1);
    assert!(poll(&mut ninth).is_ready());
    assert_eq!(drain(&mut receiver).last(), Some(&20));
    assert_eq!(sender.snapshot().tally.canceled, 1);
}

#[test]
fn a_grant_that_is_not_fetched_passes_on() {
    let (sender, mut receiver) = channel(exactly(1));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    let mut first = sender.reserve(1);
    let mut second = sender.reserve(1);
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    drain(&mut receiver);
    drop(first);
    let Poll::Ready(Ok(permit)) = poll(&mut second) else { panic!("it is its turn") };
    assert_eq!(sender.snapshot().reserved_bytes, 1);
    permit.send((2, 1)).unwrap();
    assert_eq!(drain(&mut receiver), [2]);
    assert_eq!(sender.snapshot().free, 1);
}

#[test]
fn an_item_is_taken_back_from_the_line() {
    let (sender, _receiver) = channel(exactly(1));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    let mut waiting = sender.send((2, 1));
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(waiting.into_item(), Some((2, 1)));
    assert_eq!(sender.send((3, 1)).into_item(), Some((3, 1)), "also before it was polled");
    let seen = sender.snapshot();
    assert_eq!((seen.waiters, seen.waiting_bytes, seen.tally.canceled), (0, 0, 0));
}

#[test]
fn the_line_is_bounded() {
    let (sender, _receiver) = channel(exactly(1).max_waiters(2));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    let (mut first, mut second) = (sender.send((2, 1)), sender.reserve(1));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    let seen = sender.snapshot();
    assert_eq!((seen.waiters, seen.waiting_bytes), (2, 2));
    let Poll::Ready(Ok(Sent::Refused(full))) = poll(&mut sender.send((3, 1))) else { panic!("two may wait") };
    assert_eq!((full.item, full.why), ((3, 1), Why::LineFull));
    let Poll::Ready(Err(ReserveError::Full(full))) = poll(&mut sender.reserve(1)) else { panic!("two may") };
    assert_eq!(full.why, Why::LineFull);
}

#[test]
fn a_permit_gives_back_what_is_not_needed() {
    let (sender, mut receiver) = channel(exactly(10));
    let mut permit = sender.try_reserve(10).unwrap();
    assert!(matches!(sender.try_reserve(1), Err(ReserveError::Full(full)) if full.why == Why::NoRoom));
    permit.shrink_to(4);
    permit.shrink_to(7);
    assert_eq!((permit.bytes(), sender.snapshot().free), (4, 6));
    permit.send((1, 4)).unwrap();
    assert_eq!(receiver.try_recv().unwrap().bytes(), 4);
    drop(sender.try_reserve(10).unwrap());
    assert_eq!(sender.snapshot().free, 10);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_the_item_comes_back() {
    let (sender, _receiver) = channel(exactly(1));
    assert!(sender.offer((1, 1)).unwrap().is_accepted());
    let begin = Instant::now();
    let sent = sender.send_by((2, 1), begin + Duration::from_secs(3)).await.unwrap();
    let Sent::Refused(full) = sent else { panic!("nobody received") };
    assert_eq!((full.item, full.why, begin.elapsed().as_secs()), ((2, 1), Why::Expired, 3));
    let sent = sender.send_by((3, 1), begin).await.unwrap();
    assert!(matches!(sent, Sent::Refused(full) if full.why == Why::Deadline), "it has passed");
    assert_eq!(sender.snapshot().waiters, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_would_come_too_late_hears_it_at_once() {
    let (sender, mut receiver) = channel(exactly(100));
    for bag in 0..100 {
        assert!(sender.offer((bag, 1)).unwrap().is_accepted());
    }
    // One in ten milliseconds; the channel is kept full.
    for bag in 100..200 {
        let lease = receiver.recv().await.unwrap();
        advance(Duration::from_millis(10)).await;
        drop(lease);
        assert!(sender.offer((bag, 1)).unwrap().is_accepted());
    }
    let mut waiting: Vec<_> = (0..50).map(|bag| sender.send((bag, 1))).collect();
    assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_pending()));
    // Fifty wait and one comes: half a second.
    let wait = sender.room_in(1);
    assert!((490..=530).contains(&wait.expected.as_millis()) && wait.samples > 0, "{wait:?}");
    let soon = Instant::now() + Duration::from_millis(400);
    let Poll::Ready(Ok(Sent::Refused(full))) = poll(&mut Box::pin(sender.send_by((999, 1), soon))) else {
        panic!("it takes half a second")
    };
    assert_eq!((full.why, full.retry_after), (Why::Deadline, Some(wait.expected)));
    let later = Instant::now() + Duration::from_millis(600);
    assert!(poll(&mut Box::pin(sender.send_by((999, 1), later))).is_pending());
}
