//! Wakers are foreign code: what panics in one harms nobody else.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

use super::brisk_tests::{limiter, made_brisk_in_real_time, polled};
use super::tests::{claim, reason, ticket};
use crate::{Limiter, QueueConfig, Reason};

/// A waker that counts, and panics when it is called.
struct Panics(AtomicUsize);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        resume_unwind(Box::new("a waker that panics"));
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_behind_it_from_being_rung() {
    let limiter = super::tests::limiter(3, 8);
    let held = limiter.try_acquire(3).unwrap();
    let rings = Arc::new(Panics(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&rings));
    let mut waiting = [ticket(&limiter, 1), ticket(&limiter, 1), ticket(&limiter, 1)];
    for one in &mut waiting {
        assert!(Pin::new(one).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(held);
    assert_eq!(rings.0.load(Ordering::SeqCst), 3, "somebody was forgotten");
    drop(waiting.map(claim));
    assert_eq!((limiter.stats().available, limiter.stats().waiting), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_takes_no_units_from_who_woke_it() {
    let queue = QueueConfig::bounded(8).max_wait(Duration::from_millis(50));
    let limiter = Limiter::builder().limit(2).queue(queue).track_occupants(true).build().unwrap();
    let _held = limiter.try_acquire(1).unwrap();
    let waker = Waker::from(Arc::new(Panics(AtomicUsize::new(0))));
    let mut large = ticket(&limiter, 2).without_alarm();
    assert!(Pin::new(&mut large).poll(&mut Context::from_waker(&waker)).is_pending());
    tokio::time::advance(Duration::from_millis(100)).await;
    // It ends with this event, and is told of it.
    let other = limiter.enqueue(1).unwrap();
    assert_eq!((limiter.stats().expired, limiter.stats().in_flight), (1, 2));
    drop(other);
    assert_eq!(limiter.stats().in_flight, 1);
}

/// A waker that nobody can keep.
fn unclonable() -> Waker {
    static TABLE: RawWakerVTable =
        RawWakerVTable::new(|_| resume_unwind(Box::new("not to be cloned")), |_| (), |_| (), |_| ());
    // SAFETY: the functions do not look at the data, and can be called from every thread.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) }
}

#[test]
fn a_waker_that_cannot_be_cloned_takes_no_alarm_from_others() {
    let limiter = limiter(Duration::from_millis(100));
    let (_held, _next) = made_brisk_in_real_time(&limiter);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _on_it = runtime.enter();
    let mut first = ticket(&limiter, 1);
    let waker = unclonable();
    let kept = catch_unwind(AssertUnwindSafe(|| {
        let _ = Pin::new(&mut first).poll(&mut Context::from_waker(&waker));
    }));
    assert!(kept.is_err());
    runtime.block_on(async {
        for acquire in [polled(&limiter), polled(&limiter)] {
            let end = tokio::time::timeout(Duration::from_secs(60), acquire).await;
            assert_eq!(reason(end.expect("its alarm was never set")), Reason::Expired);
        }
    });
    drop(first);
}
