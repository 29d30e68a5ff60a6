//! A device that blocks, and what one does around it.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::gate::Blocking;
use tidegate::{Limiter, QueueConfig};
use tokio::runtime::{Builder, Runtime};

/// A device that blocks the threads of its users, real threads, until it is let go.
#[derive(Default)]
pub(super) struct Device {
    open: Mutex<bool>,
    changed: Condvar,
    inside: AtomicUsize,
    pub(super) most: AtomicUsize,
    pub(super) served: AtomicUsize,
}

impl Device {
    /// Blocks until the device is let go, then takes a moment.
    pub(super) fn read(&self, moment: Duration) -> usize {
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(inside, SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_while(open, |open| !*open).unwrap());
        #[allow(clippy::disallowed_methods)] // blocking its thread is what it is for
        if !moment.is_zero() {
            std::thread::sleep(moment);
        }
        self.inside.fetch_sub(1, SeqCst);
        self.served.fetch_add(1, SeqCst)
    }

    pub(super) fn let_go(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    pub(super) fn inside(&self) -> usize {
        self.inside.load(SeqCst)
    }
}

/// Lets the device go when a test ends, also when it fails: its runtime waits for the threads that block.
pub(super) struct LetsGo(pub(super) Arc<Device>);

impl Drop for LetsGo {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Yields until it is so.
pub(super) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

pub(super) fn gate(limit: u64, places: u64) -> Blocking {
    let queue = QueueConfig::bounded(places).max_wait(Duration::from_secs(600));
    Blocking::new(Limiter::builder().name("device").limit(limit).queue(queue).build().unwrap())
}

/// A runtime that counts its threads: now, and the most there were.
pub(super) fn counted() -> (Runtime, Arc<[AtomicUsize; 2]>) {
    let threads = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (start, stop) = (Arc::clone(&threads), Arc::clone(&threads));
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || {
            let now = start[0].fetch_add(1, SeqCst) + 1;
            start[1].fetch_max(now, SeqCst);
        })
        .on_thread_stop(move || {
            stop[0].fetch_sub(1, SeqCst);
        })
        .build()
        .unwrap();
    (runtime, threads)
}

/// Polls once, as if somebody else would poll again: work must not depend on who wakes.
pub(super) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
