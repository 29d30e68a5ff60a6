//! [`Timer`]: a timer for waits that follow one another, and mostly end before they have lasted too long.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for one wait after another. It is set once and moved when it fires: to set and cancel one for every wait costs
/// fifteen times as much. A task that no longer waits may be woken by it for nothing, once.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when it is `due` or later; until then it wakes the task that asked last.
    pub(crate) fn poll_due(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
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
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_wait_ends_when_it_is_due_wherever_the_timer_stands() {
        let mut timer = Timer::default();
        // Left early, so that it stands before the next one's end, then behind it.
        for seconds in [30, 50, 20, 40] {
            let due = Instant::now() + Duration::from_secs(seconds);
            let most = Duration::from_secs(10);
            assert!(timeout(most, poll_fn(|cx| timer.poll_due(due, cx))).await.is_err());
        }
        for seconds in [5, 60, 1] {
            let due = Instant::now() + Duration::from_secs(seconds);
            poll_fn(|cx| timer.poll_due(due, cx)).await;
            let late = Instant::now() - due;
            assert!(late <= Duration::from_millis(1), "{late:?}");
        }
    }
}
