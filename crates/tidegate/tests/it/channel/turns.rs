//! Large and small ones wait for the same bytes, and both are served. Order is asserted, not time.

use std::task::Poll;
use std::time::Duration;

use tidegate::channel::Sender;

use super::{Bag, channel, drain, exactly, poll};

const LARGE: u64 = 100;

#[test]
fn a_large_one_is_served_after_eight_that_passed_it() {
    let (sender, mut receiver) = channel(exactly(LARGE));
    for bag in 0..10 {
        assert!(sender.offer((bag, 10)).unwrap().is_accepted());
    }
    let mut large = sender.send((999, LARGE));
    assert!(poll(&mut large).is_pending());
    let (mut out, mut small) = (Vec::new(), Vec::new());
    for round in 0..40 {
        // A stream of small ones that never ends: two new ones for each that is served.
        for who in [1000 + 2 * round, 1001 + 2 * round] {
            small.push(sender.send((who, 10)));
        }
        small.retain_mut(|sending| poll(sending).is_pending());
        out.extend(receiver.try_recv().ok().map(|bag| bag.0));
        if poll(&mut large).is_ready() {
            break;
        }
    }
    out.extend(drain(&mut receiver));
    let at = out.iter().position(|who| *who == 999).expect("it was served");
    let passed: Vec<_> = out.iter().take(at).filter(|who| **who >= 1000).copied().collect();
    assert_eq!(passed, (1000..1008).collect::<Vec<_>>(), "eight, in their own order");
}

#[test]
fn a_small_one_is_served_between_large_ones() {
    let (sender, mut receiver) = channel(exactly(LARGE));
    assert!(sender.offer((0, LARGE - 10)).unwrap().is_accepted());
    // Large ones wait, and more come all the time.
    let mut large: Vec<_> = (1..=10).map(|who| sender.send((who, LARGE))).collect();
    large.retain_mut(|sending| poll(sending).is_pending());
    // What is left over is enough for the small one: it does not stand behind them at all.
    assert!(poll(&mut sender.send((999, 10))).is_ready());
    // With nothing left over, it has its turn like everybody.
    let mut small = sender.send((998, 10));
    assert!(poll(&mut small).is_pending());
    let mut out = Vec::new();
    for _ in 0..40 {
        out.extend(receiver.try_recv().ok().map(|bag| bag.0));
        large.retain_mut(|sending| poll(sending).is_pending());
        if !out.contains(&998) {
            _ = poll(&mut small);
        }
    }
    assert_eq!(out.iter().take(2).copied().collect::<Vec<_>>(), [0, 999]);
    let at = out.iter().position(|who| *who == 998).expect("it was served");
    assert!(at <= 3, "{out:?}");
    assert_eq!(out.len(), 13, "all were served: {out:?}");
}

/// What happens to a channel that is in use: some line up, and leave. More of them than share one look at the clock.
fn something_happens(sender: &Sender<Bag>) {
    for _ in 0..20 {
        assert!(poll(&mut sender.send((9, LARGE))).is_pending());
    }
}

/// In a drawer: granted, and never polled again. What is granted passes on, and the item stays with its sender.
#[tokio::test(start_paused = true)]
async fn room_that_nobody_comes_for_passes_on_after_a_while() {
    let (sender, mut receiver) = channel(exactly(LARGE));
    assert!(sender.offer((0, LARGE)).unwrap().is_accepted());
    let mut drawer = sender.send((1, LARGE));
    let mut reserve = Box::pin(sender.reserve(LARGE));
    let mut third = sender.send((3, LARGE));
    assert!(
        poll(&mut drawer).is_pending() && poll(&mut reserve).is_pending() && poll(&mut third).is_pending()
    );
    drop(receiver.try_recv().unwrap());
    something_happens(&sender);
    tokio::time::advance(Duration::from_millis(900)).await;
    something_happens(&sender);
    assert_eq!(sender.snapshot().reserved_bytes, LARGE, "granted to the first, which may still come");
    assert!(poll(&mut reserve).is_pending());
    for _ in 0..2 {
        tokio::time::advance(Duration::from_millis(1100)).await;
        something_happens(&sender);
    }
    assert!(poll(&mut third).is_pending(), "granted to the second");
    for _ in 0..2 {
        tokio::time::advance(Duration::from_millis(1100)).await;
        something_happens(&sender);
    }
    assert!(poll(&mut third).is_ready(), "which does not come either");
    // Those that lapsed line up anew, in the order in which they come.
    assert!(poll(&mut reserve).is_pending() && poll(&mut drawer).is_pending());
    assert_eq!(receiver.try_recv().unwrap().0, 3);
    let Poll::Ready(permit) = poll(&mut reserve) else { panic!("it is its turn") };
    permit.unwrap().send((2, LARGE)).unwrap();
    assert_eq!(receiver.try_recv().unwrap().0, 2);
    assert!(poll(&mut drawer).is_ready());
    assert_eq!(receiver.try_recv().unwrap().0, 1);
    let now = sender.snapshot();
    assert_eq!((now.reserved_bytes, now.leased_bytes, now.waiters), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn room_that_lapsed_may_be_given_up_with_its_item() {
    let (sender, mut receiver) = channel(exactly(LARGE));
    assert!(sender.offer((0, LARGE)).unwrap().is_accepted());
    let (mut drawer, mut dropped) = (sender.send((1, LARGE)), Box::pin(sender.reserve(LARGE)));
    let mut last = sender.send((2, LARGE));
    assert!(
        poll(&mut drawer).is_pending() && poll(&mut dropped).is_pending() && poll(&mut last).is_pending()
    );
    drop(receiver.try_recv().unwrap());
    for _ in 0..5 {
        something_happens(&sender);
        tokio::time::advance(Duration::from_millis(1100)).await;
    }
    assert!(poll(&mut last).is_ready());
    assert_eq!(drawer.into_item(), Some((1, LARGE)));
    drop(dropped);
    assert_eq!(receiver.try_recv().unwrap().0, 2);
    let now = sender.snapshot();
    assert_eq!((now.reserved_bytes, now.leased_bytes, now.waiters), (0, 0, 0));
    assert!(sender.offer((3, LARGE)).unwrap().is_accepted());
}

/// Nobody else waits: it may come as late as it likes.
#[tokio::test(start_paused = true)]
async fn room_that_nobody_else_wants_is_kept() {
    let (sender, mut receiver) = channel(exactly(LARGE));
    assert!(sender.offer((0, LARGE)).unwrap().is_accepted());
    let mut drawer = sender.send((1, LARGE));
    assert!(poll(&mut drawer).is_pending());
    drop(receiver.try_recv().unwrap());
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(!sender.offer((2, 1)).unwrap().is_accepted());
    assert!(poll(&mut drawer).is_ready());
}

/// Stopped just before the task of the first would have run; then everything runs again, others sooner.
#[tokio::test(start_paused = true)]
async fn a_program_that_stood_still_takes_room_from_nobody() {
    let (sender, mut receiver) = channel(exactly(LARGE));
    assert!(sender.offer((0, LARGE)).unwrap().is_accepted());
    let (mut first, mut second) = (sender.send((1, LARGE)), sender.send((2, LARGE)));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    drop(receiver.try_recv().unwrap());
    something_happens(&sender);
    tokio::time::advance(Duration::from_millis(1500)).await;
    for _ in 0..9 {
        something_happens(&sender);
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    assert!(poll(&mut second).is_pending(), "the first may still come");
    assert!(poll(&mut first).is_ready(), "it was granted");
    assert_eq!(receiver.try_recv().unwrap().0, 1);
    assert!(poll(&mut second).is_ready(), "it is next");
    assert_eq!(receiver.try_recv().unwrap().0, 2);
}
