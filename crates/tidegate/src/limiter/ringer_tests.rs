//! Alarms that the program's thread rings: for runtimes of several threads, whoever else is blocked or panics.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep, timeout};

use super::brisk_tests::{limiter, made_brisk_in_real_time, polled};
use super::ringer::{Ringer, STARTED_IN};
use super::tests::reason;
use super::*;
use crate::sync::lock;
use crate::{Demand, Reason};

const WAIT: Duration = Duration::from_millis(300);
/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(60);

fn several_threads(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_time().build().unwrap()
}

/// Callers that wait in a fast line and have been polled, the last while the thread was to ring; on the runtime that
/// this is called on.
fn leaning(limiter: &Limiter) -> [Pin<Box<Acquire>>; 3] {
    for _ in 0..1000 {
        let waiting = [polled(limiter), polled(limiter), polled(limiter)];
        // It has rung already where this thread had to stand back for a while.
        if limiter.shared().thread_rings.load(Relaxed) {
            return waiting;
        }
    }
    panic!("nobody leans on the thread");
}

/// Waits for a permit in vain, and leans on the thread for it: its task is polled again only when that has rung.
async fn expires(limiter: Limiter) {
    loop {
        let mut acquire = pin!(limiter.acquire(1));
        let mut leans = false;
        let end = poll_fn(|cx| {
            let polled = acquire.as_mut().poll(cx).map(Some);
            leans = leans || limiter.shared().thread_rings.load(Relaxed);
            if leans { polled } else { Poll::Ready(None) }
        });
        tokio::select! {
            biased;
            () = sleep(LONG) => panic!("the thread does not ring"),
            end = end => if let Some(end) = end {
                return assert_eq!(reason(end), Reason::Expired);
            }
        }
    }
}

#[test]
fn who_waits_on_several_threads_ends_when_the_line_stops() {
    let limiter = limiter(WAIT);
    let (_held, _next) = made_brisk_in_real_time(&limiter);
    several_threads(2).block_on(async {
        let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(expires(limiter.clone()))).collect();
        for task in waiting {
            task.await.unwrap();
        }
    });
    limiter.tick();
    assert_eq!(limiter.stats().waiting, 0);
    let given_up = Instant::now() + LONG;
    while limiter.shared().thread_rings.load(Relaxed) {
        assert!(Instant::now() < given_up, "it goes on ringing although nobody leans");
        std::thread::yield_now();
    }
}

#[test]
fn a_blocked_runtime_of_several_threads_does_not_keep_another_from_its_end() {
    let limiter = limiter(WAIT);
    let (_held, _next) = made_brisk_in_real_time(&limiter);
    let (blocked, is_blocked) = sync_channel(1);
    let (release, released) = sync_channel::<()>(1);
    let other = limiter.clone();
    let runtime = several_threads(1);
    let blocker = runtime.spawn(async move {
        // They set the alarm, and nobody drives this runtime from now on.
        let leaning = leaning(&other);
        blocked.send(()).unwrap();
        released.recv().unwrap();
        for one in leaning {
            assert_eq!(reason(one.await), Reason::Expired);
        }
    });
    is_blocked.recv().unwrap();
    let on_another = several_threads(1);
    on_another.block_on(on_another.spawn(expires(limiter.clone()))).unwrap();
    release.send(()).unwrap();
    runtime.block_on(blocker).unwrap();
}

struct Rung {
    tell: SyncSender<()>,
    panic: bool,
}

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        let _ = self.tell.try_send(());
        if self.panic {
            std::panic::resume_unwind(Box::new("a waker that panics"));
        }
    }
}

/// Leaves wakers with a limiter in whose line somebody leans, the first of which may panic, and returns when all were rung.
fn rung(limiter: &Limiter, panic: bool) {
    let [_, _, mut last] = leaning(limiter);
    let left = [panic, false, false].map(|panic| {
        let (tell, told) = sync_channel(1);
        let waker = Waker::from(Arc::new(Rung { tell, panic }));
        let mut acquire = Box::pin(limiter.acquire(1));
        assert!(acquire.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        (acquire, told)
    });
    for (_, told) in &left {
        told.recv_timeout(LONG).unwrap();
    }
    let mut still = Context::from_waker(Waker::noop());
    assert!(last.as_mut().poll(&mut still).is_pending());
}

#[test]
fn a_waker_that_panics_ends_no_alarm_of_others() {
    let runtime = several_threads(1);
    let _on_it = runtime.enter();
    let (one, other) = (limiter(LONG), limiter(LONG));
    let (_one, _other) = (made_brisk_in_real_time(&one), made_brisk_in_real_time(&other));
    for _ in 0..3 {
        rung(&one, true);
        rung(&other, false);
    }
}

#[test]
fn an_alarm_that_is_set_keeps_no_limiter_alive() {
    let runtime = several_threads(1);
    let _on_it = runtime.enter();
    let limiter = limiter(LONG);
    let in_line = made_brisk_in_real_time(&limiter);
    drop((leaning(&limiter), in_line));
    let alive = Arc::downgrade(limiter.shared_handle());
    drop(limiter);
    // Unless it is being rung at this moment.
    while alive.strong_count() > 0 {
        std::thread::yield_now();
    }
}

/// A line moves fast, until its units are kept by two who wait for all others to have waited in vain; again and again.
#[test]
fn a_line_that_stops_again_and_again_forgets_nobody() {
    const OTHERS: usize = 16;
    const ROUNDS: usize = 30;
    let limiter =
        Limiter::builder().limit(2).queue(QueueConfig::bounded(64).max_wait(WAIT / 15)).build().unwrap();
    let round_ends = Arc::new(Barrier::new(OTHERS + 2));
    let task = async |limiter: Limiter, round_ends: Arc<Barrier>, keeps: bool| {
        for _ in 0..ROUNDS {
            let mut turns = 0;
            let kept = loop {
                match limiter.acquire(1).await {
                    Ok(permit) if keeps && turns >= 200 => break Some(permit),
                    Err(_) if !keeps => break None,
                    _ => tokio::task::yield_now().await,
                }
                // Some go before their turn.
                let mut acquire = pin!(limiter.acquire(1));
                poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx).is_ready())).await;
                turns += 1;
            };
            round_ends.wait().await;
            drop(kept);
        }
    };
    several_threads(2).block_on(async {
        let tasks: Vec<_> = (0..OTHERS + 2)
            .map(|number| tokio::spawn(task(limiter.clone(), round_ends.clone(), number < 2)))
            .collect();
        for task in tasks {
            timeout(LONG, task).await.expect("somebody was forgotten").unwrap();
        }
    });
    let stats = limiter.stats();
    assert_eq!((stats.available, stats.waiting), (2, 0));
}

/// A child process has no thread but the one that forked.
#[test]
fn after_a_fork_there_is_a_thread_again() {
    let limiter = limiter(WAIT);
    let (_held, _next) = made_brisk_in_real_time(&limiter);
    several_threads(1).block_on(async {
        assert_eq!(Ringer::here(), Some(Ringer::Thread));
        STARTED_IN.store(0, Relaxed);
        tokio::spawn(expires(limiter.clone())).await.unwrap();
    });
    assert_eq!(STARTED_IN.load(Relaxed), std::process::id());
}

/// A line that moved fast stands, and more come to it, each with an alarm of its own.
#[test]
fn the_thread_rests_while_nobody_leans_however_many_wait() {
    let limiter =
        Limiter::builder().limit(1).queue(QueueConfig::bounded(100_000).max_wait(LONG)).build().unwrap();
    let _in_line = made_brisk_in_real_time(&limiter);
    let runtime = several_threads(1);
    let _on_it = runtime.enter();
    drop(leaning(&limiter));
    let mut others = Vec::new();
    let given_up = Instant::now() + LONG;
    while limiter.shared().thread_rings.load(Relaxed) {
        assert!(Instant::now() < given_up, "it goes on ringing for those who do not lean");
        if others.len() < 50_000 {
            let mut other = Box::pin(limiter.acquire(Demand::ONE.max_wait(LONG / 2)));
            assert!(other.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            others.push(other);
        }
    }
}

/// Runtimes of one thread and of several, beside and after each other: nobody is forgotten, and nothing of them is kept.
#[test]
fn runtimes_come_and_go_in_a_fast_line() {
    const LINES: usize = 4;
    const RUNTIMES: usize = 12;
    let limiter = limiter(WAIT);
    let in_line = made_brisk_in_real_time(&limiter);
    let turns = async |limiter: Limiter| {
        for _ in 0..200 {
            let permit = timeout(LONG, limiter.acquire(1)).await.expect("somebody was forgotten");
            tokio::task::yield_now().await;
            drop(permit);
        }
    };
    let lines = [(); LINES].map(|()| {
        let limiter = limiter.clone();
        std::thread::spawn(move || {
            for number in 0..RUNTIMES {
                let one = || Builder::new_current_thread().enable_time().build().unwrap();
                let runtime = if number % 3 == 0 { several_threads(1) } else { one() };
                let tasks = [(); 4].map(|()| runtime.spawn(turns(limiter.clone())));
                runtime.block_on(async {
                    for task in tasks {
                        task.await.unwrap();
                    }
                    // It ends while an alarm is set on it.
                    let mut last = Box::pin(limiter.acquire(1));
                    _ = last.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                });
            }
        })
    });
    drop(in_line);
    lines.into_iter().for_each(|line| line.join().unwrap());
    assert_eq!((limiter.stats().available, limiter.stats().waiting), (1, 0));
    assert!(lock(&limiter.shared().desk).alarms.hold_no_timer());
}
