//! [`Early`]: interim answers of the service, on their way to the client of one HTTP/2 stream (RFC 9110 §15.2).

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use http::{Response, response};

use crate::memory::head_cost;

/// So many of one request, and so many bytes together, are passed on: hints, not a stream. The others are dropped, which
/// costs their client a hint.
const HEADS: usize = 8;
const BYTES: u64 = 16 * 1024;

/// Where a service puts the interim answers to a request: among its extensions, if its client can be told them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Early(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    waiting: Vec<Response<()>>,
    heads: usize,
    bytes: u64,
    waker: Option<Waker>,
}

impl Early {
    /// Passes one on. **When full:** it is dropped.
    pub(crate) fn tell(&self, head: response::Parts) {
        let mut told = self.told();
        let bytes = told.bytes + head_cost(0, &head.headers);
        if told.heads == HEADS || bytes > BYTES {
            return;
        }
        told.heads += 1;
        told.bytes = bytes;
        told.waiting.push(Response::from_parts(head, ()));
        let waker = told.waker.take();
        drop(told);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Those that have come. The task is woken when there are more.
    pub(super) fn take(&self, cx: &Context<'_>) -> Vec<Response<()>> {
        let mut told = self.told();
        let old = match &told.waker {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            _ => told.waker.replace(cx.waker().clone()),
        };
        let waiting = take(&mut told.waiting);
        drop(told);
        drop(old);
        waiting
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn no_more_than_a_few_wait() {
        let early = Early::default();
        let told = |bytes: usize| {
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::EARLY_HINTS;
            head.headers_mut().insert("link", "x".repeat(bytes).parse().unwrap());
            early.tell(head.into_parts().0);
        };
        let cx = Context::from_waker(Waker::noop());
        told(17 * 1024);
        (0..5).for_each(|_| told(10));
        assert_eq!(early.take(&cx).len(), 5);
        (0..5).for_each(|_| told(10));
        assert_eq!(early.take(&cx).len(), HEADS - 5);
    }
}
