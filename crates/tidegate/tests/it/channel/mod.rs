//! `tidegate::channel` through its public API.

mod budget;
mod close;
mod line;
mod lists;
mod model;
mod pace;
mod policy;
mod storm;
mod turns;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tidegate::channel::{Config, Receiver, Sender};

/// An item that weighs what it says: no bytes are added for its place.
pub(super) type Bag = (u32, u64);

/// At most `bytes`, each bag at its weight.
pub(super) fn exactly(bytes: u64) -> Config<Bag> {
    Config::weighing(bytes, |bag: &Bag| bag.1).per_item(0)
}

pub(super) fn channel(config: Config<Bag>) -> (Sender<Bag>, Receiver<Bag>) {
    config.build().unwrap()
}

/// Counts how often it is called.
#[derive(Default)]
pub(super) struct Rings(AtomicUsize);

impl Rings {
    pub(super) fn waker() -> (Arc<Self>, Waker) {
        let rings = Arc::new(Self::default());
        (Arc::clone(&rings), Waker::from(rings))
    }

    pub(super) fn heard(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls once, with a waker that does nothing.
pub(super) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Receives what is there, and keeps nothing of it.
pub(super) fn drain(receiver: &mut Receiver<Bag>) -> Vec<u32> {
    std::iter::from_fn(|| receiver.try_recv().ok().map(|bag| bag.0)).collect()
}
