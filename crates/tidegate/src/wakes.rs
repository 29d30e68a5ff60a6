//! Wakers that wait for every lock to be free.

use std::task::Waker;

/// Wakers to be run once every lock is free. The first needs no allocation: most events wake one caller.
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

    /// One after another.
    pub(crate) fn each(self) -> impl Iterator<Item = Waker> {
        self.first.into_iter().chain(self.more)
    }

    /// Wakes them all.
    pub(crate) fn run(self) {
        let Some(first) = self.first else { return };
        first.wake();
        self.more.into_iter().for_each(Waker::wake);
    }
}
