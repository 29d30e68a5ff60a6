//! [`ReadyService`]: one inner service that many calls wait for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use actix_web::dev::Service;

/// An inner service whose readiness many calls may wait for at once.
///
/// A service remembers one waker, that of whoever asked last. Here it gets one that wakes all that wait, so that none is
/// forgotten.
#[derive(Debug)]
pub(super) struct ReadyService<S> {
    pub(super) inner: S,
    waiting: Arc<Waiting>,
}

/// Those that wait: calls that hold a permit, so no more than there are permits.
#[derive(Debug, Default)]
struct Waiting {
    calls: Mutex<Vec<(u64, Waker)>>,
    numbers: AtomicU64,
}

/// A call among those that wait; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Waits {
    number: u64,
    among: Arc<Waiting>,
}

impl Waiting {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<(u64, Waker)>) -> T) -> T {
        act(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.with(std::mem::take).into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let left = self.among.with(|calls| {
            let at = calls.iter().position(|(number, _)| *number == self.number)?;
            Some(calls.swap_remove(at))
        });
        // A waker's drop may run foreign code: not under the lock.
        drop(left);
    }
}

impl<S> ReadyService<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, waiting: Arc::default() }
    }

    /// Ready; or `cx` is woken when that may have changed, whoever else asks meanwhile, as long as `waits` is kept.
    pub(super) fn poll_ready<Req>(
        &self,
        waits: &mut Option<Waits>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        let all = Waker::from(Arc::clone(&self.waiting));
        let ready = self.inner.poll_ready(&mut Context::from_waker(&all));
        if ready.is_ready() {
            *waits = None;
            return ready;
        }
        let waits = waits.get_or_insert_with(|| Waits {
            number: self.waiting.numbers.fetch_add(1, Relaxed),
            among: Arc::clone(&self.waiting),
        });
        let waker = cx.waker().clone();
        let old =
            self.waiting.with(|calls| match calls.iter_mut().find(|(number, _)| *number == waits.number) {
                Some((_, known)) => Some(std::mem::replace(known, waker)),
                None => {
                    calls.push((waits.number, waker));
                    None
                }
            });
        drop(old);
        // It may have become ready between the question and the entry in the list.
        self.inner.poll_ready(&mut Context::from_waker(&all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::future::{Ready, ready};
    use std::sync::atomic::AtomicUsize;

    /// Remembers the last waker only, as services do.
    #[derive(Default)]
    struct Slow {
        open: Cell<bool>,
        waker: RefCell<Option<Waker>>,
    }

    impl Service<()> for Slow {
        type Response = ();
        type Error = ();
        type Future = Ready<Result<(), ()>>;

        fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
            if self.open.get() {
                return Poll::Ready(Ok(()));
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }

        fn call(&self, (): ()) -> Self::Future {
            ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn none_of_many_is_forgotten_and_those_that_leave_leave_nothing() {
        let service = ReadyService::new(Slow::default());
        let woken: Vec<_> = (0..3).map(|_| Arc::new(Woken::default())).collect();
        let poll = |waits: &mut Option<Waits>, woken: &Arc<Woken>| {
            let waker = Waker::from(Arc::clone(woken));
            service.poll_ready(waits, &Context::from_waker(&waker))
        };
        let mut waits = [None, None, None];
        for _ in 0..2 {
            for (waits, woken) in waits.iter_mut().zip(&woken) {
                assert!(poll(waits, woken).is_pending());
            }
        }
        assert_eq!(service.waiting.with(|calls| calls.len()), 3);
        waits[1] = None;
        service.inner.open.set(true);
        let waker = service.inner.waker.take();
        waker.unwrap().wake();
        let counts: Vec<_> = woken.iter().map(|woken| woken.0.load(Relaxed)).collect();
        assert_eq!(counts, [1, 0, 1]);
        for (waits, woken) in waits.iter_mut().zip(&woken) {
            assert!(poll(waits, woken).is_ready());
        }
        assert_eq!(service.waiting.with(|calls| calls.len()), 0);
        for _ in 0..100 {
            service.inner.open.set(false);
            assert!(poll(&mut None, &woken[0]).is_pending());
        }
        assert_eq!(service.waiting.with(|calls| calls.len()), 0, "whoever is dropped is not kept");
    }
}
