//! [`Unfinished`]: the header block of an HTTP/2 connection that has begun and not ended.
//!
//! Most blocks come in one frame. One that comes in more is unpacked as it comes, a byte of it into a field of a hundred
//! and sixty at worst, before there is a stream that it could be charged to. So it is charged here, and has its time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::memory::{Account, Tier, unfinished_cost};

use super::Fault;
use super::frames::Seen;

/// How long a block may take, and what it has taken so far. Dropped, it gives back what is charged.
#[derive(Debug)]
pub(super) struct Unfinished {
    within: Duration,
    head_bytes: usize,
    account: Option<Arc<Account>>,
    charged: u64,
    /// Which block it is, and since when it was seen.
    since: Option<(u32, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Unfinished {
    pub(super) fn new(within: Duration, head_bytes: usize, account: Option<Arc<Account>>) -> Self {
        Self { within, head_bytes, account, charged: 0, since: None, timer: None }
    }

    /// Charges what has come of a block that has not ended. Ready if there is no memory for it, or its time is over.
    pub(super) fn poll(&mut self, seen: &Seen, cx: &mut Context<'_>) -> Poll<Fault> {
        let Some((number, bytes)) = seen.unfinished() else {
            self.ended(seen);
            return Poll::Pending;
        };
        if !self.pay(if bytes > 0 { unfinished_cost(bytes, self.head_bytes) } else { 0 }) {
            return Poll::Ready(Fault::Memory);
        }
        let since = match self.since {
            Some((same, since)) if same == number => since,
            _ => Instant::now(),
        };
        self.since = Some((number, since));
        let due = since + self.within;
        // It is never set too late, since what is due only moves on; one that fires too early costs one look.
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(Fault::HeadTimeout);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Gives back what was charged for a block that has ended.
    pub(super) fn ended(&mut self, seen: &Seen) {
        if self.since.is_some() && seen.unfinished().is_none() {
            self.since = None;
            self.pay(0);
        }
    }

    fn pay(&mut self, cost: u64) -> bool {
        let Some(account) = &self.account else { return true };
        if cost > self.charged && !account.take(cost - self.charged, Tier::Grow) {
            account.memory().refused();
            return false;
        }
        account.give(self.charged.saturating_sub(cost));
        self.charged = cost;
        true
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.pay(0);
    }
}
