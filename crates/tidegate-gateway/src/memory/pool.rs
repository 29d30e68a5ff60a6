//! [`Memory`]: the budget, who may take how much of it, and who holds how much.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;
use slab::Slab;
use tidegate::budget::{Budget, Lease};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::account::Account;
use super::kept::Kept;
use super::parking::Waits;
use super::party::Party;
use super::plan::{AHEAD_SHARE, FLOOR_SHARE};
use super::share::Shares;
use super::{Plan, costs};

/// How often it is looked whether another connection fits, while none does.
pub(crate) const AGAIN: Duration = Duration::from_millis(10);
/// Requests that wait for memory, each on a connection of its own.
const WAITERS: usize = 10_000;
/// Those who could give something back are asked so often at most.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What something is charged for: the less can be done without it, the more of the budget it may use. So neither
/// streams nor windows can take what newcomers need, and connections cannot take what their requests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// What spares each request of a connection asking for itself: an eighth.
    Ahead,
    /// Another request of a connection that has one: 60 %, and no more than its fair share when half is used.
    More,
    /// A window or buffer may be larger than it must be: 70 %, and its fair share likewise.
    Grow,
    /// A connection: 85 %.
    Floor,
    /// A window that others have used up, for a body that somebody reads: 95 %, and what is kept for it.
    Rescue,
    /// The only request of its connection: everything.
    First,
}

impl Tier {
    const fn percent(self) -> u64 {
        match self {
            Self::Ahead => AHEAD_SHARE,
            Self::More => 60,
            Self::Grow => 70,
            Self::Floor => FLOOR_SHARE,
            Self::Rescue => 95,
            Self::First => 100,
        }
    }
}

/// What a connection speaks, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Opening,
    Http1,
    Http2,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Http1 => "http/1",
            Self::Http2 => "http/2",
        }
    }
}

/// The bytes of one gateway. Clones share them.
#[derive(Clone, Debug)]
pub struct Memory(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    plan: Plan,
    pub(super) budget: Budget,
    _fixed: Option<Lease>,
    /// Kept for [`Tier::Rescue`].
    rescue: Kept,
    /// Kept for parties that hold less than their share.
    pub(super) newcomers: Kept,
    pub(super) shares: Mutex<Shares<Waits>>,
    /// What `shares` says, to be read without its lock.
    pub(super) parties: AtomicU64,
    pub(super) parked: AtomicU64,
    pub(super) owed: AtomicBool,
    pub(super) displaced: AtomicU64,
    open: AtomicU64,
    refused: AtomicU64,
    began: Instant,
    asked: AtomicU64,
    ask: watch::Sender<u64>,
    accounts: Mutex<Slab<Weak<Account>>>,
}

/// Figures of the bytes that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryFacts {
    /// All there is.
    pub limit_bytes: u64,
    /// What is charged now. Never above `limit_bytes`.
    pub charged_bytes: u64,
    /// The most that ever was.
    pub charged_peak_bytes: u64,
    /// Of it: what the program itself takes.
    pub fixed_bytes: u64,
    /// Connections that hold some.
    pub holders: u64,
    /// Requests, heads and connections refused because they did not fit.
    pub refused: u64,
    /// Client addresses that are connected or parked; trusted proxies count as one each.
    pub parties: u64,
    /// Connections that are accepted and wait, unread, for memory.
    pub parked: u64,
    /// Connections that were closed because there was no place to park them. Those that were told are among the refused.
    pub displaced: u64,
}

/// Who holds bytes, how many, since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Holder {
    /// The peer.
    pub peer: SocketAddr,
    /// What it speaks: `opening`, `http/1`, `http/2`.
    pub protocol: &'static str,
    /// Bytes charged for it.
    pub bytes: u64,
    /// Milliseconds since it was accepted.
    pub since_ms: u64,
}

impl Memory {
    /// The bytes of `plan`, of which the program's own are taken at once.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let budget = Budget::root("gateway", plan.bytes).max_waiters(WAITERS).build();
        let mut fixed = budget.try_lease(plan.fixed()).ok();
        let mut kept = |bytes| Kept::new(fixed.as_mut().and_then(|fixed| fixed.split(bytes)));
        let (rescue, newcomers) = (kept(plan.rescue()), kept(plan.newcomers()));
        Self(Arc::new(Inner {
            plan,
            budget,
            _fixed: fixed,
            rescue,
            newcomers,
            shares: Mutex::new(Shares::new(plan.places())),
            parties: AtomicU64::new(0),
            parked: AtomicU64::new(0),
            owed: AtomicBool::new(false),
            displaced: AtomicU64::new(0),
            open: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            began: Instant::now(),
            asked: AtomicU64::new(0),
            ask: watch::Sender::new(0),
            accounts: Mutex::default(),
        }))
    }

    /// How the bytes are divided.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// Figures of this moment.
    #[must_use]
    pub fn facts(&self) -> MemoryFacts {
        let (limit_bytes, charged_bytes) = (self.0.budget.limit(), self.0.budget.used());
        debug_assert!(charged_bytes <= limit_bytes, "{charged_bytes} of {limit_bytes} bytes are charged");
        MemoryFacts {
            limit_bytes,
            charged_bytes,
            charged_peak_bytes: self.0.budget.peak(),
            fixed_bytes: self.0.plan.fixed(),
            holders: self.0.open.load(Relaxed),
            refused: self.0.refused.load(Relaxed),
            parties: self.0.parties.load(Relaxed),
            parked: self.0.parked.load(Relaxed),
            displaced: self.0.displaced.load(Relaxed),
        }
    }

    /// Those who hold most, at most `most` of them.
    #[must_use]
    pub fn holders(&self, most: usize) -> Vec<Holder> {
        let accounts: Vec<_> = self.accounts().iter().filter_map(|(_, account)| account.upgrade()).collect();
        let mut holders: Vec<_> = accounts.iter().map(|account| account.holder()).collect();
        holders.sort_unstable_by_key(|holder| std::cmp::Reverse(holder.bytes));
        holders.truncate(most);
        holders
    }

    /// So many bytes, if there are as many for this purpose. Never waits.
    pub(crate) fn lease(&self, bytes: u64, tier: Tier) -> Option<Lease> {
        let lease = if self.fits(bytes, tier) { self.0.budget.try_lease(bytes).ok() } else { None };
        if lease.is_none() {
            self.ask_back();
        }
        lease
    }

    /// So many bytes of those that are kept for windows that others have used up, if there are as many left.
    pub(super) fn rescue(&self, bytes: u64) -> Option<Lease> {
        self.0.rescue.take(bytes)
    }

    /// What was taken of them comes back.
    pub(super) fn rescued(&self, bytes: Lease) {
        self.0.rescue.put(bytes);
    }

    /// Bytes without which a connection can do nothing. **When full**: waits its turn, for `within` at most. **When
    /// cancelled**: leaves the line, and nothing is held.
    pub(crate) async fn wait(&self, bytes: u64, within: Duration) -> Option<Lease> {
        if let Some(lease) = self.lease(bytes, Tier::First) {
            return Some(lease);
        }
        timeout(within, self.0.budget.lease(bytes)).await.ok()?.ok()
    }

    /// The room that a body takes when it may flow freely, or in pieces of a frame's size.
    pub(crate) fn free_flow(&self, small: bool) -> Option<Lease> {
        self.lease(if small { costs::FREE_SMALL } else { costs::FREE }, Tier::Grow)
    }

    /// Counts a request that did not fit.
    pub(crate) fn refused(&self) {
        self.0.refused.fetch_add(1, Relaxed);
    }

    /// Hears when memory is short.
    pub(crate) fn asks(&self) -> watch::Receiver<u64> {
        self.0.ask.subscribe()
    }

    /// The most that one connection should hold when memory is short.
    pub(super) fn fair_share(&self) -> u64 {
        self.0.plan.spendable() / (self.0.open.load(Relaxed) + 1)
    }

    /// Is more than half of what can be charged in use?
    pub(crate) fn is_half_used(&self) -> bool {
        self.would_half_be_used(0)
    }

    /// Would it be with so many bytes more?
    pub(super) fn would_half_be_used(&self, more: u64) -> bool {
        self.0.budget.used().saturating_add(more) > self.0.plan.fixed() + self.0.plan.spendable() / 2
    }

    pub(super) fn fits(&self, bytes: u64, tier: Tier) -> bool {
        if tier == Tier::First {
            return true;
        }
        let most = self.0.plan.fixed() + self.0.plan.tier(tier.percent());
        self.0.budget.used().saturating_add(bytes) <= most
    }

    /// Asks those who could give something back to do so; not again and again.
    pub(super) fn ask_back(&self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let last = self.0.asked.load(Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= ASK_AGAIN.as_millis() as u64;
        if due && self.0.asked.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            self.0.ask.send_modify(|times| *times = times.wrapping_add(1));
        }
    }

    pub(super) fn enter(&self, account: impl FnOnce(usize) -> Arc<Account>) -> Arc<Account> {
        self.0.open.fetch_add(1, Relaxed);
        let mut accounts = self.accounts();
        let entry = accounts.vacant_entry();
        let account = account(entry.key());
        entry.insert(Arc::downgrade(&account));
        account
    }

    pub(super) fn leave(&self, key: usize, party: &Party) {
        self.0.open.fetch_sub(1, Relaxed);
        let _ = self.accounts().try_remove(key);
        self.left(party);
    }

    // Nothing that can panic is done under this lock, and no account ends under it.
    fn accounts(&self) -> MutexGuard<'_, Slab<Weak<Account>>> {
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    fn memory() -> Memory {
        Memory::new(Plan::new(Plan::LEAST, false, false))
    }

    #[tokio::test(start_paused = true)]
    async fn connections_leave_room_for_their_requests() {
        let memory = memory();
        let mut floors = Vec::new();
        while let Some(floor) = memory.lease(memory.plan().floor(), Tier::Floor) {
            floors.push(floor);
        }
        assert!(floors.len() >= 30, "{}", floors.len());
        assert!(memory.lease(1, Tier::Grow).is_none() && memory.lease(1, Tier::More).is_none());
        let first = memory.lease(memory.plan().request(), Tier::First);
        assert!(first.is_some());
        drop((first, floors));
        let facts = memory.facts();
        assert!(
            facts.charged_peak_bytes > facts.charged_bytes && facts.charged_peak_bytes <= facts.limit_bytes
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_could_give_back_is_asked_but_not_again_and_again() {
        let memory = memory();
        let mut asks = memory.asks();
        assert!(!asks.has_changed().unwrap());
        for _ in 0..100 {
            assert!(memory.lease(u64::MAX / 2, Tier::Grow).is_none());
        }
        asks.changed().await.unwrap();
        assert_eq!(*asks.borrow_and_update(), 1);
        sleep(ASK_AGAIN).await;
        assert!(memory.lease(u64::MAX / 2, Tier::Grow).is_none());
        assert!(asks.has_changed().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_its_turn_and_not_for_ever() {
        let memory = memory();
        let all = memory.lease(memory.plan().spendable(), Tier::First).unwrap();
        assert!(memory.wait(100, Duration::from_secs(1)).await.is_none());
        let (waited, ()) = tokio::join!(memory.wait(100, Duration::from_secs(1)), async { drop(all) });
        assert_eq!(waited.unwrap().bytes(), 100);
    }
}
