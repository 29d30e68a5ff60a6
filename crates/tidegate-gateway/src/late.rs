//! A bound of time for a peer, which does not count while this machine was late itself.
//!
//! A machine that was stopped, or had no processor for us, wakes with all timers due and everything that peers have sent
//! meanwhile unread. Nobody else can be blamed for that time.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// So late a timer may fire on a machine that is only busy. What is more is given back.
const BUSY: Duration = Duration::from_millis(100);

/// Awaits `future` for `limit` at most, and for as long again as this was late to see that the time is over.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut due = Instant::now() + limit;
    loop {
        let elapsed = match timeout_at(due, future.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(elapsed) => elapsed,
        };
        let now = Instant::now();
        let late = now.saturating_duration_since(due);
        if late < BUSY {
            return Err(elapsed);
        }
        due = now + late.min(limit);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use tokio::sync::oneshot;
    use tokio::time::advance;

    use super::*;

    async fn poll<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_could_not_be_heard_is_heard_after_all() {
        const LIMIT: Duration = Duration::from_secs(5);
        let (tell, told) = oneshot::channel();
        let mut waiting = pin!(within(LIMIT, told));
        assert!(poll(waiting.as_mut()).await.is_pending());
        advance(Duration::from_secs(8)).await; // the machine stands still
        assert!(poll(waiting.as_mut()).await.is_pending());
        advance(Duration::from_secs(2)).await;
        tell.send(7).unwrap();
        assert_eq!(waiting.await, Ok(Ok(7)));
        // Who says nothing is waited for no longer than that, however long it stood.
        let (_tell, told) = oneshot::channel::<()>();
        let mut waiting = pin!(within(LIMIT, told));
        assert!(poll(waiting.as_mut()).await.is_pending());
        advance(Duration::from_secs(100)).await;
        assert!(poll(waiting.as_mut()).await.is_pending());
        let since = Instant::now();
        assert!(waiting.await.is_err());
        assert!(since.elapsed() <= LIMIT + BUSY);
        // And on a machine that is in time, not longer at all.
        let since = Instant::now();
        assert!(within(LIMIT, std::future::pending::<()>()).await.is_err());
        assert!(since.elapsed() < LIMIT + BUSY);
    }
}
