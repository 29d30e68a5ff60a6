//! [`Timer`]: a timer for waits that follow one another, and mostly end before they have lasted too long.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// No wait is longer: about as long as a timer of the runtime may stand.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A timer for one wait after another. It is set once and moved when it fires: to set and cancel one for every wait takes some
/// 400 instructions more (callgrind, of a proxied request). A task that no longer waits may be woken by it for nothing, once.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when it is `limit` after `since`, or later; until then it wakes the task that asked last.
    pub(crate) fn poll_over(&mut self, since: Instant, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let due = since + limit.min(LONGEST);
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // It may still stand at an earlier wait's end, or, if waits differ, at a later one's.
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_wait_ends_when_it_is_due_wherever_the_timer_stands() {
        let mut timer = Timer::default();
        let seconds = Duration::from_secs;
        // Left early, so that it stands before the next one's end, then behind it.
        for limit in [seconds(30), seconds(50), Duration::MAX, seconds(20), seconds(40)] {
            let since = Instant::now();
            let wait = timeout(seconds(10), poll_fn(|cx| timer.poll_over(since, limit, cx)));
            assert!(wait.await.is_err());
        }
        for limit in [seconds(5), seconds(60), seconds(1)] {
            let since = Instant::now();
            poll_fn(|cx| timer.poll_over(since, limit, cx)).await;
            let late = since.elapsed() - limit;
            assert!(late <= Duration::from_millis(1), "{late:?}");
        }
    }
}
