//! Waiting: in turn, bounded, and leaving nothing behind.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::Reason;
use tidegate::budget::{Budget, Full, Lease, Leasing, Urgency};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

/// Polls once.
fn ask(leasing: &mut std::pin::Pin<&mut Leasing>) -> Poll<Result<Lease, Full>> {
    leasing.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn waiting(budget: &Budget, bytes: u64) -> std::pin::Pin<Box<Leasing>> {
    let mut leasing = Box::pin(budget.lease(bytes));
    assert!(ask(&mut leasing.as_mut()).is_pending());
    leasing
}

fn served(leasing: &mut std::pin::Pin<Box<Leasing>>) -> Option<Lease> {
    match ask(&mut leasing.as_mut()) {
        Poll::Ready(lease) => Some(lease.unwrap()),
        Poll::Pending => None,
    }
}

#[test]
fn bytes_that_come_back_are_handed_to_who_waits() {
    let budget = Budget::new("budget", 10);
    let held = budget.try_lease(10).unwrap();
    let mut one = waiting(&budget, 4);
    let mut two = waiting(&budget, 6);
    assert_eq!((budget.waiting(), budget.snapshot().waiting_bytes), (2, 10));
    drop(held);
    assert_eq!(budget.used(), 10, "handed over, before anybody else can take them");
    assert!(budget.try_lease(1).is_err());
    let (one, two) = (served(&mut one).unwrap(), served(&mut two).unwrap());
    drop((one, two));
    assert_eq!((budget.used(), budget.waiting()), (0, 0));
}

/// There is nothing to bound the wait with, which is told by a panic: nobody stays in the line for it.
#[test]
fn a_runtime_without_a_timer_keeps_no_bytes() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _on_it = runtime.enter();
    let budget = Budget::new("budget", 10);
    let held = budget.try_lease(10).unwrap();
    let bounded = Box::pin(budget.lease(10).within(Duration::from_secs(1)));
    let asked = std::panic::AssertUnwindSafe(|| {
        let mut bounded = bounded;
        _ = ask(&mut bounded.as_mut());
    });
    assert!(std::panic::catch_unwind(asked).is_err());
    assert_eq!(budget.waiting(), 0);
    drop(held);
    assert_eq!(budget.used(), 0, "granted to nobody");
}

#[test]
fn dropping_an_ask_leaves_the_line_and_passes_the_grant_on() {
    let budget = Budget::new("budget", 10);
    let held = budget.try_lease(10).unwrap();
    let (first, mut second, mut third) = (waiting(&budget, 10), waiting(&budget, 5), waiting(&budget, 5));
    let part = budget.waiting();
    drop(held);
    assert_eq!((part, budget.waiting(), budget.used()), (3, 2, 10));
    drop(first); // granted, never taken
    assert_eq!(budget.used(), 10);
    drop((served(&mut second).unwrap(), served(&mut third).unwrap()));

    let held = budget.try_lease(10).unwrap();
    let (first, mut second) = (waiting(&budget, 10), waiting(&budget, 5));
    drop(first);
    assert_eq!(budget.waiting(), 1);
    drop(held);
    drop(served(&mut second).unwrap());
    assert_eq!(budget.used(), 0);
}

#[test]
fn at_most_eight_go_past_one_that_only_lacks_room() {
    let budget = Budget::new("budget", 10);
    let mut held: Vec<_> = (0..10).map(|_| budget.try_lease(1).unwrap()).collect();
    let mut large = waiting(&budget, 10);
    let small: Vec<_> = (0..20).map(|_| waiting(&budget, 1)).collect();
    held.clear();
    assert_eq!((budget.waiting(), budget.used()), (13, 8));
    drop(small);
    assert_eq!(served(&mut large).unwrap().bytes(), 10);

    let mut held: Vec<_> = (0..10).map(|_| budget.try_lease(1).unwrap()).collect();
    let mut large = waiting(&budget, 10);
    held.pop();
    let passed = (0..20).filter(|_| budget.try_lease(1).is_ok()).count();
    assert_eq!(passed, 8, "those that came later, and do not wait, are counted like the others");
    drop(held);
    assert_eq!(served(&mut large).unwrap().bytes(), 10);
}

#[test]
fn the_eight_are_counted_over_all_that_share_a_budget() {
    let process = Budget::new("process", 100);
    let mut held: Vec<_> = (0..100).map(|_| process.try_lease(1).unwrap()).collect();
    let mut large = waiting(&process.child("large").build(), 50);
    let others: Vec<_> = (0..20).map(|at| process.child(at.to_string()).build()).collect();
    let small: Vec<_> = others.iter().map(|other| waiting(other, 1)).collect();
    held.truncate(60);
    assert_eq!((process.used(), process.waiting()), (68, 13));
    assert!(process.try_lease(1).is_err(), "newcomers are among the eight");
    held.truncate(42);
    assert_eq!((process.used(), process.waiting()), (100, 12));
    assert_eq!(served(&mut large).unwrap().bytes(), 50);
    drop(small);
}

#[test]
fn who_waits_for_its_own_limit_is_in_nobodys_way() {
    let process = Budget::new("process", 100);
    let narrow = process.child("narrow").limit(10).build();
    let held = narrow.try_lease(10).unwrap();
    let mut waits = waiting(&narrow, 10);
    for _ in 0..50 {
        drop(process.try_lease(90).unwrap());
    }
    let all = process.try_lease(90).unwrap();
    drop(held);
    assert!(served(&mut waits).is_some());
    drop(all);
}

#[test]
fn a_line_that_first_lacks_room_here_and_then_there_is_served() {
    let process = Budget::new("process", 100);
    let narrow = process.child("narrow").limit(10).build();
    let (inside, outside) = (narrow.try_lease(10).unwrap(), process.try_lease(90).unwrap());
    let mut waits = waiting(&narrow, 10);
    drop(inside);
    let lease = served(&mut waits).unwrap();
    let mut waits = waiting(&narrow, 10);
    let grabbed = process.try_lease(0).unwrap();
    drop((lease, grabbed));
    let lease = served(&mut waits).unwrap();
    drop((outside, lease));

    let (inside, outside) = (narrow.try_lease(10).unwrap(), process.try_lease(85).unwrap());
    let mut waits = waiting(&narrow, 10);
    let more = process.try_lease(5).unwrap();
    let sneaks = waiting(&process, 15);
    drop(inside);
    assert!(served(&mut waits).is_some(), "ten are free, and it waits for no more");
    drop((outside, more, sneaks));
    assert_eq!((process.used(), process.waiting()), (0, 0));
}

#[test]
fn the_more_urgent_is_served_first() {
    let process = Budget::new("process", 100);
    let held = process.try_lease(100).unwrap();
    let mut new = Box::pin(process.child("new").build().lease(10).urgency(Urgency::New));
    assert!(ask(&mut new.as_mut()).is_pending());
    let mut going_on = waiting(&process.child("going on").build(), 60);
    drop(held);
    let going_on = served(&mut going_on).unwrap();
    assert!(served(&mut new).is_none(), "more than 60 % full with it");
    drop(going_on);
    assert!(served(&mut new).is_some());
}

#[test]
fn what_can_never_be_served_does_not_wait() {
    let process = Budget::new("process", 100);
    let full = ask(&mut pin!(process.lease(101))).map(Result::unwrap_err);
    assert!(matches!(full, Poll::Ready(Full { ever: false, .. })));
    let held = process.try_lease(100).unwrap();
    let mut large = waiting(&process, 80);
    let mut small = waiting(&process, 40);
    process.set_limit(50);
    let full = ask(&mut large.as_mut());
    assert!(matches!(full, Poll::Ready(Err(Full { ever: false, .. }))), "{full:?}");
    drop(held);
    assert!(served(&mut small).is_some());
}

#[test]
fn a_raised_limit_serves_at_once() {
    let budget = Budget::new("budget", 10);
    let _held = budget.try_lease(10).unwrap();
    let mut waits = waiting(&budget, 10);
    budget.set_limit(20);
    assert!(served(&mut waits).is_some());
}

#[test]
fn places_are_bounded_in_the_tree_and_in_a_part_of_it() {
    let process = Budget::root("process", 10).max_waiters(3).build();
    let part = process.child("part").max_waiters(1).build();
    let held = process.try_lease(10).unwrap();
    let one = waiting(&part, 1);
    let refused = |budget: &Budget| match ask(&mut pin!(budget.lease(1))) {
        Poll::Ready(Err(full)) => (full.reason, full.at.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&part), (Reason::QueueFull, "part".to_owned()));
    let (two, three) = (waiting(&process, 1), waiting(&process, 1));
    assert_eq!(refused(&process), (Reason::QueueFull, "process".to_owned()));
    drop((one, two));
    assert_eq!(process.waiting(), 1);
    let again = waiting(&part, 1);
    drop((three, again, held));
}

#[tokio::test(start_paused = true)]
async fn a_bound_ends_the_wait() {
    let budget = Budget::new("budget", 10);
    let held = budget.try_lease(10).unwrap();
    let start = Instant::now();
    let full = budget.lease(1).within(Duration::from_millis(30)).await.unwrap_err();
    assert_eq!((full.reason, full.ever, start.elapsed()), (Reason::Expired, true, Duration::from_millis(30)));
    let by = start + Duration::from_millis(50);
    let full = budget.lease(1).within(Duration::from_secs(9)).by(by).await.unwrap_err();
    assert_eq!((full.reason, start.elapsed()), (Reason::Expired, Duration::from_millis(50)));
    assert_eq!(budget.waiting(), 0);
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(held);
    });
    assert!(budget.lease(1).within(Duration::from_millis(30)).await.is_ok());
    later.await.unwrap();
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_predicted_from_what_comes_back() {
    let budget = Budget::new("budget", 1000);
    assert_eq!(budget.predict(1000), Some(Duration::ZERO));
    let mut held: Vec<_> = (0..100).map(|_| budget.try_lease(10).unwrap()).collect();
    assert_eq!((budget.predict(10), budget.predict(1001)), (None, None));
    let many: Vec<JoinHandle<_>> = (0..50)
        .map(|_| {
            let budget = budget.clone();
            tokio::spawn(async move { std::mem::forget(budget.lease(10).await) })
        })
        .collect();
    tokio::task::yield_now().await;
    for _ in 0..40 {
        advance(Duration::from_millis(10)).await; // 1000 bytes a second
        held.pop();
    }
    let predicted = budget.predict(100).unwrap().as_millis();
    assert!((190..=210).contains(&predicted), "100 for those before, 100 for itself: {predicted} ms");
    let full = budget.lease(10).within(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(full.reason, Reason::WaitTooLong);
    assert!(full.wait.is_some());
    many.into_iter().for_each(|task| task.abort());
}

/// In a drawer: granted, and never polled again.
#[tokio::test(start_paused = true)]
async fn what_nobody_comes_for_passes_on_after_a_second_when_something_happens() {
    let root = Budget::new("root", 10);
    let (left, right) = (root.child("left").build(), root.child("right").build());
    let held = root.try_lease(10).unwrap();
    let mut drawer = waiting(&left, 10);
    let mut next = waiting(&right, 6);
    drop(held);
    assert_eq!((left.used(), root.waiting()), (10, 1), "granted");
    advance(Duration::from_millis(900)).await;
    let mut more = waiting(&right, 4);
    assert!(served(&mut next).is_none(), "it may still come");
    advance(Duration::from_millis(200)).await;
    // What happens: somebody asks, and leaves.
    drop(waiting(&right, 10));
    let (next, more) = (served(&mut next).unwrap(), served(&mut more).unwrap());
    assert_eq!((left.used(), right.used(), root.waiting()), (0, 10, 0));
    // It has its turn again, behind those that came meanwhile.
    assert!(ask(&mut drawer.as_mut()).is_pending());
    drop((next, more));
    let late = served(&mut drawer).unwrap();
    assert_eq!((late.bytes(), root.used()), (10, 10));
    drop(late);
    assert_eq!((root.used(), root.waiting()), (0, 0));
}

/// The task waits for what it has itself been granted by a future that it does not poll meanwhile.
#[tokio::test(start_paused = true)]
async fn a_task_does_not_wait_in_vain_for_what_it_keeps_itself() {
    // Whenever it was granted between two looks: 1.1 s later it is somebody else's.
    for after in [10, 450, 890, 899, 901, 990, 2850, 2901] {
        let budget = Budget::new("budget", 10);
        let held = budget.try_lease(10).unwrap();
        let drawer = waiting(&budget, 10);
        let releaser = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            drop(held);
        });
        let begun = Instant::now();
        let lease = budget.lease(10).within(Duration::from_secs(60)).await.unwrap();
        let kept = begun.elapsed() - Duration::from_millis(after);
        assert!((1000..=1105).contains(&kept.as_millis()), "{after} ms: {kept:?}");
        releaser.await.unwrap();
        drop(lease);
        assert!(drawer.await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn what_lapsed_keeps_its_bound_and_leaves_nothing_behind() {
    let budget = Budget::new("budget", 10);
    let held = budget.try_lease(10).unwrap();
    let mut bounded = Box::pin(budget.lease(10).within(Duration::from_secs(5)));
    assert!(ask(&mut bounded.as_mut()).is_pending());
    let (dropped, mut last) = (waiting(&budget, 10), waiting(&budget, 10));
    drop(held);
    for _ in 0..2 {
        for pause in [1000, 100] {
            advance(Duration::from_millis(pause)).await;
            drop(waiting(&budget, 1));
        }
    }
    // The first lapsed, then the second.
    drop(dropped);
    let lease = served(&mut last).unwrap();
    assert!(ask(&mut bounded.as_mut()).is_pending());
    advance(Duration::from_secs(3)).await;
    let Poll::Ready(Err(full)) = ask(&mut bounded.as_mut()) else { panic!("five seconds are over") };
    assert_eq!(full.reason, Reason::Expired);
    drop((bounded, lease));
    assert_eq!((budget.used(), budget.waiting()), (0, 0));
}

/// Nobody else waits: it may come as late as it likes.
#[tokio::test(start_paused = true)]
async fn what_nobody_else_wants_is_kept() {
    let budget = Budget::new("budget", 10);
    let held = budget.try_lease(10).unwrap();
    let mut drawer = waiting(&budget, 10);
    drop(held);
    advance(Duration::from_secs(3600)).await;
    assert!(budget.try_lease(1).is_err());
    assert!(served(&mut drawer).is_some());
}

/// Stopped just before the task of the first would have run; then everything runs again, others sooner.
#[tokio::test(start_paused = true)]
async fn a_program_that_stood_still_takes_bytes_from_nobody() {
    let budget = Budget::new("budget", 10);
    let held = budget.try_lease(10).unwrap();
    let (mut first, mut second) = (waiting(&budget, 10), waiting(&budget, 10));
    drop(held);
    drop(waiting(&budget, 10));
    advance(Duration::from_millis(1500)).await;
    for _ in 0..9 {
        drop(waiting(&budget, 10));
        advance(Duration::from_millis(10)).await;
    }
    assert!(served(&mut second).is_none(), "the first may still come");
    drop(served(&mut first).expect("it was granted"));
    drop(served(&mut second).expect("it is next"));
    assert_eq!((budget.used(), budget.waiting()), (0, 0));
}
