//! [`Behind`]: what a client sends behind a request that has no body, while that is answered.
//!
//! Nobody reads it meanwhile, so the kernel keeps it. Clients seldom do that, so it is not charged with every request but
//! when it comes; with an upload it always is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use crate::memory::{Account, Charge, Tier};
use crate::socket::Watch;

use super::screened::Desk;

/// What is charged for bytes behind the requests of one connection.
#[derive(Debug)]
pub(super) struct Behind {
    account: Option<Arc<Account>>,
    charge: Option<Charge>,
}

impl Behind {
    pub(super) fn new(account: Option<Arc<Account>>) -> Self {
        // Where the kernel cannot be told how much it may receive, nothing that is charged would be the truth.
        let bounded = |account: &Arc<Account>| account.memory().plan().received() > 0;
        Self { account: account.filter(bounded), charge: None }
    }

    /// Charges what has come, until the connection reads again. Ready if there is no memory for it.
    pub(super) fn poll_unpaid(&mut self, desk: &Desk, watch: &Watch, cx: &mut Context<'_>) -> Poll<()> {
        let Some(account) = &self.account else { return Poll::Pending };
        if !desk.busy.load(Ordering::Relaxed) {
            self.charge = None;
            return Poll::Pending;
        }
        // What waits to be paid for has not begun.
        let paid = self.charge.is_some() || desk.ahead.load(Ordering::Relaxed) || !desk.is_paid();
        if paid || watch.poll_come(cx).is_pending() {
            return Poll::Pending;
        }
        self.charge = account.charge(account.memory().plan().received(), Tier::First);
        if self.charge.is_none() {
            account.memory().refused();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
