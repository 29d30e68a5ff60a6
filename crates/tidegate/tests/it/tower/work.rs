//! Services that last as long as a test wants them to.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use tidegate::{Limiter, QueueConfig};
use tokio::sync::Notify;
use tower::Service;

/// Answers its request once [`Work::finish`] was called; knows how many calls are inside.
#[derive(Clone, Default)]
pub(super) struct Work {
    end: Arc<Notify>,
    pub(super) inside: Arc<AtomicUsize>,
    pub(super) begun: Arc<AtomicUsize>,
}

struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Work {
    /// Lets one call end, now or when it comes.
    pub(super) fn finish(&self) {
        self.end.notify_one();
    }

    pub(super) fn inside(&self) -> usize {
        self.inside.load(SeqCst)
    }
}

impl Service<u32> for Work {
    type Response = u32;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let end = Arc::clone(&self.end);
        self.begun.fetch_add(1, SeqCst);
        self.inside.fetch_add(1, SeqCst);
        let inside = Inside(Arc::clone(&self.inside));
        Box::pin(async move {
            let _inside = inside;
            end.notified().await;
            Ok(request)
        })
    }
}

/// Answers at once.
pub(super) fn echo()
-> impl Service<u32, Response = u32, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static {
    tower::service_fn(|request: u32| std::future::ready(Ok(request)))
}

/// A limiter of `limit` units with `places` in its queue.
pub(super) fn limiter(limit: u64, places: u64) -> Limiter {
    Limiter::builder().name("test").limit(limit).queue(QueueConfig::bounded(places)).build().unwrap()
}

/// Polls once.
pub(super) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Asks a service for readiness once, as a router does that then goes elsewhere.
pub(super) fn poll_ready<S: Service<Req>, Req>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}
