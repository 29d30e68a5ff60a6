//! [`Unfinished`]: the header block of an HTTP/2 connection that has begun and not ended.
//!
//! Most blocks come in one frame. One that comes in more is unpacked as it comes, a byte of it into a field of a hundred
//! and sixty at worst, before there is a stream that it could be charged to, or be refused with. So it is charged here before it is
//! read, and has its time. While there is no memory for it, its connection is not read on, for as long as requests wait for memory;
//! then that ends, for the state of compression cannot be had without unpacking.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::memory::{Account, Tier, unfinished_cost};
use crate::timer::Timer;

use super::frames::Seen;
use super::waiting::LOOK;
use super::{Fault, ListenSettings};

/// How long a block may take, and what it has taken so far. Dropped, it gives back what is charged.
#[derive(Debug)]
pub(super) struct Unfinished {
    within: Duration,
    memory_wait: Duration,
    head_bytes: usize,
    account: Option<Arc<Account>>,
    charged: u64,
    /// Which block it is, and since when it was seen.
    since: Option<(u32, Instant)>,
    /// Since when there is no memory for what comes next.
    short: Option<Instant>,
    timer: Timer,
}

impl Unfinished {
    pub(super) fn new(settings: &ListenSettings, account: Option<Arc<Account>>) -> Self {
        Self {
            within: settings.head_timeout,
            memory_wait: settings.memory_wait,
            head_bytes: settings.head_bytes,
            account,
            charged: 0,
            since: None,
            short: None,
            timer: Timer::default(),
        }
    }

    /// Does it wait for memory, so that nothing is to be read?
    pub(super) fn waits(&self) -> bool {
        self.short.is_some()
    }

    /// Charges what has come of a block that has not ended, and what is to come of its frame. Ready if there is no memory for
    /// that in time, or for what is unpacked already; or if its time is over.
    pub(super) fn poll(&mut self, seen: &Seen, cx: &mut Context<'_>) -> Poll<Fault> {
        let Some(block) = seen.unfinished() else {
            self.ended(seen);
            return Poll::Pending;
        };
        loop {
            let now = Instant::now();
            let since = match self.since {
                Some((same, since)) if same == block.number => since,
                _ => now,
            };
            self.since = Some((block.number, since));
            let mut due = since + self.within;
            if now >= due {
                return Poll::Ready(Fault::HeadTimeout);
            }
            if self.pay(if block.bytes > 0 { unfinished_cost(block.bytes, self.head_bytes) } else { 0 }) {
                self.short = None;
                seen.allow(block.bytes);
            } else {
                let until = *self.short.get_or_insert(now) + self.memory_wait;
                if block.whole || now >= until {
                    return Poll::Ready(self.refused());
                }
                due = due.min(until).min(now + LOOK);
            }
            ready!(self.timer.poll_over(now, due - now, cx));
        }
    }

    /// Gives back what was charged for a block that has ended.
    pub(super) fn ended(&mut self, seen: &Seen) {
        if self.since.is_some() && seen.unfinished().is_none() {
            (self.since, self.short) = (None, None);
            self.pay(0);
        }
    }

    fn pay(&mut self, cost: u64) -> bool {
        let Some(account) = &self.account else { return true };
        if cost > self.charged && !account.take(cost - self.charged, Tier::Grow) {
            return false;
        }
        account.give(self.charged.saturating_sub(cost));
        self.charged = cost;
        true
    }

    fn refused(&self) -> Fault {
        if let Some(account) = &self.account {
            account.memory().refused();
        }
        Fault::Memory
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.pay(0);
    }
}
