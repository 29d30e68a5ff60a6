//! The timers of an HTTP/2 connection: what is due, and whether the client is still there.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// A ping goes out so often, and must be answered within so long: what a NAT forgets after a minute is found.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Fires for what is due, and to look again.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
    set: Option<Instant>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { timer: Box::pin(sleep(PING_AFTER)), set: None }
    }

    /// Fires at the earlier of the two; with neither, never. Cancel safe.
    pub(super) async fn at(&mut self, due: Option<Instant>, again: Option<Instant>) {
        let Some(next) = due.into_iter().chain(again).min() else { return std::future::pending().await };
        // Moved only if it would fire too late: a timer that fires too early costs one look, moving it costs one each time.
        if self.set.is_none_or(|set| set > next) {
            self.timer.as_mut().reset(next);
            self.set = Some(next);
        }
        self.timer.as_mut().await;
        self.set = None;
    }
}

/// Asks a silent connection whether it is still there.
pub(super) struct Alive {
    ping: PingPong,
    timer: Pin<Box<Sleep>>,
    asked: bool,
}

impl Alive {
    pub(super) fn new(ping: PingPong) -> Self {
        Self { ping, timer: Box::pin(sleep(PING_AFTER)), asked: false }
    }

    /// True if the ping was answered, which begins its time anew.
    fn hears(&mut self, cx: &mut Context<'_>) -> bool {
        let answered = self.asked && self.ping.poll_pong(cx).is_ready();
        if answered {
            self.asked = false;
            self.timer.as_mut().reset(Instant::now() + PING_AFTER);
        }
        answered
    }
}

/// Has the ping been answered after all? Without pings nobody is asked.
pub(super) async fn answered(alive: &mut Option<Alive>) -> bool {
    let Some(alive) = alive else { return true };
    poll_fn(|cx| Poll::Ready(alive.hears(cx))).await
}

/// Its answer could not be heard, since nothing was read: it has as long again.
pub(super) fn more_time(alive: &mut Option<Alive>) {
    if let Some(alive) = alive {
        alive.timer.as_mut().reset(Instant::now() + PONG_WITHIN);
    }
}

/// Resolves when a ping was not answered; never without pings. Cancel safe.
pub(super) async fn silent(alive: &mut Option<Alive>) {
    let Some(alive) = alive else { return std::future::pending().await };
    poll_fn(|cx| {
        alive.hears(cx);
        while Future::poll(alive.timer.as_mut(), cx).is_ready() {
            if alive.asked || alive.ping.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            alive.asked = true;
            alive.timer.as_mut().reset(Instant::now() + PONG_WITHIN);
            if alive.ping.poll_pong(cx).is_ready() {
                alive.asked = false;
            }
        }
        Poll::Pending
    })
    .await;
}
