//! Wakers that wait for every lock to be free.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Wakers to be run once every lock is free: when this is dropped, at the latest. The first needs no allocation: most events
/// wake one caller.
///
/// They are foreign code. A panic in one keeps nobody behind it from being woken, and goes no further than to the panic hook:
/// who happens to wake others is not to blame for it, and may have an answer in hand, units or bytes, that must not be lost.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakes {
    /// Adds one, if there is one.
    pub(crate) fn extend(&mut self, waker: Option<Waker>) {
        match (waker, &self.first) {
            (None, _) => {}
            (Some(waker), None) => self.first = Some(waker),
            (Some(waker), Some(_)) => self.more.push(waker),
        }
    }

    /// Wakes them all.
    pub(crate) fn run(self) {}
}

impl Drop for Wakes {
    #[inline]
    fn drop(&mut self) {
        let Some(first) = self.first.take() else { return };
        wake(first);
        self.more.drain(..).for_each(wake);
    }
}

fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}
