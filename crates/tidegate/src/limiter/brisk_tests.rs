//! Where the line moves so fast that nobody waits long: shared alarms, old readings of the clock, and what they may
//! not change.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::mpsc::sync_channel;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::tests::{claim, reason, ticket};
use super::*;
use crate::sync::lock;
use crate::{Demand, Reason};

const MS: Duration = Duration::from_millis(1);
/// How much later than its longest wait a ticket may end: the slack, and the millisecond of a timer.
const LATE: Duration = Duration::from_millis(12);

pub(super) fn limiter(max_wait: Duration) -> Limiter {
    Limiter::builder().limit(1).queue(QueueConfig::bounded(64).max_wait(max_wait)).build().unwrap()
}

/// Hands its unit over two thousand times a second, until that is known; keeps somebody waiting.
async fn made_brisk(limiter: &Limiter) -> (Permit, Ticket) {
    let mut held = limiter.try_acquire(1).unwrap();
    let mut next = ticket(limiter, 1);
    for _ in 0..100 {
        let after = ticket(limiter, 1);
        advance(MS / 2).await;
        drop(held);
        held = claim(std::mem::replace(&mut next, after));
    }
    assert!(limiter.drain_rate().unwrap() > 1500.0);
    (held, next)
}

pub(super) fn polled(limiter: &Limiter) -> Pin<Box<Acquire>> {
    let mut acquire = Box::pin(limiter.acquire(1));
    assert!(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    acquire
}

/// Waiters that lean on a shared alarm, and those that came without a reading of the clock.
fn leaning(limiter: &Limiter) -> (usize, usize) {
    let desk = lock(&limiter.shared().desk);
    let leaning = desk.queue.iter().filter(|entry| entry.value.leans.is_some()).count();
    (leaning, desk.queue.iter().filter(|entry| !entry.value.exact).count())
}

#[tokio::test(start_paused = true)]
async fn who_waits_a_moment_leans_and_still_ends_in_time() {
    let limiter = limiter(200 * MS);
    let (_held, _next) = made_brisk(&limiter).await;
    let _first = polled(&limiter);
    assert_eq!(leaning(&limiter), (1, 0), "it sets the alarm, and reads the clock for it");
    let start = Instant::now();
    let second = polled(&limiter);
    assert_eq!(leaning(&limiter), (2, 1));
    // The line stops. The alarm wakes them, and each sets its own.
    assert_eq!(reason(second.await), Reason::Expired);
    let waited = start.elapsed();
    assert!(waited >= 200 * MS && waited <= 200 * MS + LATE, "{waited:?}");
    assert_eq!(leaning(&limiter).0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_fast_line_is_known_before_its_pace_is_measured() {
    let limiter = limiter(200 * MS);
    let mut held = limiter.try_acquire(1).unwrap();
    let mut next = ticket(&limiter, 1);
    for _ in 0..40 {
        let after = ticket(&limiter, 1);
        advance(MS / 20).await;
        drop(held);
        held = claim(std::mem::replace(&mut next, after));
    }
    assert_eq!(limiter.drain_rate(), None);
    let (_first, second) = (polled(&limiter), polled(&limiter));
    assert_eq!(leaning(&limiter), (2, 1));
    let start = Instant::now();
    assert_eq!(reason(second.await), Reason::Expired);
    assert!(start.elapsed() <= 200 * MS + LATE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn whoever_names_a_time_is_measured() {
    let limiter = limiter(200 * MS);
    let (_held, _next) = made_brisk(&limiter).await;
    let _first = polled(&limiter);
    advance(3 * MS).await;
    let start = Instant::now();
    let patient = limiter.acquire(Demand::ONE.max_wait(50 * MS));
    assert_eq!(reason(patient.await), Reason::Expired);
    assert_eq!(start.elapsed(), 50 * MS);
    let deadline = Instant::now() + 20 * MS;
    assert_eq!(reason(limiter.acquire(Demand::ONE.deadline(deadline)).await), Reason::Expired);
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test(start_paused = true)]
async fn a_reading_is_never_older_than_the_alarm() {
    let limiter = limiter(5000 * MS);
    let (held, next) = made_brisk(&limiter).await;
    let _first = polled(&limiter);
    // The alarm goes off while nothing happens: the next event reads the clock, and nobody leans on it any more.
    advance(30 * MS).await;
    assert_eq!(leaning(&limiter).0, 0);
    let second = polled(&limiter);
    assert_eq!(leaning(&limiter), (1, 0));
    drop(held);
    let held = claim(next);
    advance(4 * MS).await;
    drop(held);
    drop(_first);
    let waited = second.await.unwrap().waited();
    assert!(waited <= 4 * MS, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_was_polled_late_lets_nobody_go_by_its_reading() {
    let limiter = limiter(200 * MS);
    let (_held, _next) = made_brisk(&limiter).await;
    let mut late = ticket(&limiter, 1);
    advance(150 * MS).await;
    assert!(Pin::new(&mut late).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(leaning(&limiter).0, 1);
    let start = Instant::now();
    assert_eq!(reason(polled(&limiter).await), Reason::Expired);
    assert!(start.elapsed() >= 200 * MS, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_line_goes_from_hand_to_hand_in_order_and_the_figures_add_up() {
    let limiter = limiter(5000 * MS);
    let (held, next) = made_brisk(&limiter).await;
    let before = limiter.stats();
    let mut line: Vec<_> = (0..3).map(|_| polled(&limiter)).collect();
    assert_eq!(leaning(&limiter).1, 2);
    drop(held);
    let mut held = claim(next);
    for _ in 0..500 {
        line.push(polled(&limiter));
        assert_eq!((limiter.stats().in_flight, limiter.stats().available), (1, 0));
        drop(held);
        held = line.remove(0).await.unwrap();
        assert!(held.waited() <= LATE, "{:?}", held.waited());
    }
    let after = limiter.stats();
    assert_eq!(after.admitted - before.admitted, 501);
    assert_eq!((after.waiting, after.peak_in_flight), (3, 1));
    drop((line, held));
    let whole = limiter.stats();
    assert_eq!((whole.available, whole.waiting, whole.canceled), (1, 0, 3));
    assert!(limiter.try_acquire(1).is_ok(), "the fast way is open again");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_leans_may_be_polled_again_and_dropped_in_any_state() {
    let limiter = limiter(100 * MS);
    let (held, next) = made_brisk(&limiter).await;
    let _first = polled(&limiter);
    let mut again = polled(&limiter);
    let mut granted = polled(&limiter);
    let start = Instant::now();
    assert!(again.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(leaning(&limiter), (2, 2), "it has an alarm of its own now");
    drop(_first);
    drop(next);
    assert!(tokio::time::timeout_at(start + 150 * MS, again).await.unwrap().is_err());
    drop(held);
    assert!(granted.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(), "expired meanwhile");
    assert_eq!((limiter.stats().available, limiter.stats().waiting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_little_for_the_first_in_line_is_for_who_comes_and_needs_no_more() {
    let limiter =
        Limiter::builder().limit(2).queue(QueueConfig::bounded(64).max_wait(5000 * MS)).build().unwrap();
    let _kept = limiter.try_acquire(1).unwrap();
    let (held, next) = made_brisk(&limiter).await;
    let mut large = Box::pin(limiter.acquire(2));
    assert!(large.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let _leans = polled(&limiter);
    drop((held, next, _leans));
    assert_eq!((limiter.stats().available, limiter.stats().waiting), (1, 1));
    let small = Box::pin(limiter.acquire(1)).as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(small.is_ready(), "a unit is free, and it may pass");
}

/// Measures in real time, for the runtimes of two threads.
pub(super) fn made_brisk_in_real_time(limiter: &Limiter) -> (Permit, Ticket) {
    let mut held = limiter.try_acquire(1).unwrap();
    let mut next = ticket(limiter, 1);
    let mut rounds = 0;
    while limiter.drain_rate().is_none_or(|rate| rate < 5000.0) {
        let after = ticket(limiter, 1);
        drop(held);
        let Ok(permit) = std::mem::replace(&mut next, after).try_claim() else {
            // This thread had to stand still for longer than a ticket waits.
            drop(next);
            return made_brisk_in_real_time(limiter);
        };
        held = permit;
        rounds += 1;
        assert!(rounds < 100_000_000, "no pace");
    }
    (held, next)
}

#[test]
fn a_blocked_runtime_does_not_keep_another_from_its_end() {
    let limiter = limiter(500 * MS);
    let (_held, _next) = made_brisk_in_real_time(&limiter);
    let (blocked, is_blocked) = sync_channel(1);
    let (release, released) = sync_channel::<()>(1);
    let other = limiter.clone();
    let blocker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            // The first sets an alarm on this runtime, which nobody drives from now on.
            let leaning = [polled(&other), polled(&other)];
            blocked.send(()).unwrap();
            released.recv().unwrap();
            for one in leaning {
                assert_eq!(reason(one.await), Reason::Expired);
            }
        });
    });
    is_blocked.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for acquire in [polled(&limiter), polled(&limiter), polled(&limiter)] {
            assert_eq!(reason(acquire.await), Reason::Expired, "although the other runtime is blocked");
        }
    });
    release.send(()).unwrap();
    blocker.join().unwrap();
    limiter.tick();
    assert_eq!(limiter.stats().waiting, 0);
}

#[test]
fn a_runtime_that_is_gone_takes_its_alarm_along() {
    let limiter = limiter(500 * MS);
    let (_held, _next) = made_brisk_in_real_time(&limiter);
    // More than can share alarms, one after another: their numbers are used again.
    for _ in 0..12 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let left = runtime.block_on(async { [polled(&limiter), polled(&limiter)] });
        drop(runtime);
        drop(left);
        assert!(lock(&limiter.shared().desk).alarms.hold_no_timer(), "a runtime's timer is kept");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let acquire = pin!(limiter.acquire(1));
        assert_eq!(reason(acquire.await), Reason::Expired);
    });
}

#[test]
fn away_from_a_runtime_a_wait_ends_with_a_tick() {
    let limiter = limiter(500 * MS);
    let (_held, _next) = made_brisk_in_real_time(&limiter);
    let mut acquire = polled(&limiter);
    assert_eq!(leaning(&limiter).0, 0);
    let mut cx = Context::from_waker(Waker::noop());
    let refused = loop {
        limiter.tick();
        if let std::task::Poll::Ready(result) = acquire.as_mut().poll(&mut cx) {
            break result;
        }
        std::thread::yield_now();
    };
    assert_eq!(reason(refused), Reason::Expired);
}
