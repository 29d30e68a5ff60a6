//! [`Account`]: what one connection holds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate::budget::Lease;
use tokio::time::Instant;

use super::{Holder, Kind, Memory, Tier};

/// What one connection holds. What is charged to it comes back when the last that can hold its bytes is dropped: its
/// task, its streams, a tunnel.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Memory,
    key: usize,
    peer: SocketAddr,
    since: Instant,
    kind: AtomicU8,
    held: Mutex<Held>,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    /// So much of it is from what is kept for [`Tier::Rescue`], and goes back there first.
    rescued: u64,
}

/// Bytes charged to a connection until this is dropped.
#[derive(Debug)]
#[must_use = "dropped, it gives its bytes back"]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: u64,
    /// Their own, which spares taking them out of the connection's again.
    lease: Option<Lease>,
}

impl Account {
    /// The account of a connection that was just accepted, with its floor.
    pub(crate) fn open(memory: &Memory, floor: Lease, peer: SocketAddr) -> Arc<Self> {
        memory.enter(|key| {
            Arc::new(Self {
                memory: memory.clone(),
                key,
                peer,
                since: Instant::now(),
                kind: AtomicU8::new(Kind::Opening as u8),
                bytes: AtomicU64::new(floor.bytes()),
                held: Mutex::new(Held { lease: floor, rescued: 0 }),
            })
        })
    }

    /// The budget behind it.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Says what the connection speaks. HTTP/1 gives back what only HTTP/2 needs.
    pub(crate) fn speaks(&self, kind: Kind) {
        self.kind.store(kind as u8, Relaxed);
        if kind == Kind::Http1 {
            let plan = self.memory.plan();
            self.give(plan.floor() - plan.idle1());
        }
    }

    /// Charges `bytes` more, if they fit.
    pub(crate) fn take(&self, bytes: u64, tier: Tier) -> bool {
        if matches!(tier, Tier::More | Tier::Grow) && !self.is_fair(bytes) {
            return false;
        }
        if let Some(lease) = self.memory.lease(bytes, tier) {
            self.add(lease, 0);
            return true;
        }
        let Some(kept) = (tier == Tier::Rescue).then(|| self.memory.rescue(bytes)).flatten() else {
            return false;
        };
        self.add(kept, bytes);
        true
    }

    /// Gives `bytes` back.
    pub(crate) fn give(&self, bytes: u64) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Relaxed);
            let (mut part, rescued) = {
                let mut held = self.held();
                let rescued = held.rescued.min(bytes);
                held.rescued -= rescued;
                (held.lease.split(bytes), rescued)
            };
            if let Some(kept) = part.as_mut().filter(|_| rescued > 0).and_then(|part| part.split(rescued)) {
                self.memory.rescued(kept);
            }
            // After the lock, since whoever waits for it is woken here.
            drop(part);
        }
    }

    /// Charges `bytes` until the charge is dropped, if they fit.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64, tier: Tier) -> Option<Charge> {
        self.take(bytes, tier).then(|| Charge { account: Arc::clone(self), bytes, lease: None })
    }

    /// Charges a connection's only request, if it fits now.
    pub(crate) fn request_now(self: &Arc<Self>, more: u64) -> Option<Charge> {
        let lease = self.memory.lease(self.memory.plan().request() + more, Tier::First)?;
        Some(self.charged(lease))
    }

    /// Charges a connection's only request. **When full**: waits its turn, for `within` at most. **When cancelled**:
    /// nothing is charged.
    pub(crate) async fn request(self: &Arc<Self>, more: u64, within: Duration) -> Option<Charge> {
        let lease = self.memory.wait(self.memory.plan().request() + more, within).await?;
        Some(self.charged(lease))
    }

    fn charged(self: &Arc<Self>, lease: Lease) -> Charge {
        let bytes = lease.bytes();
        self.bytes.fetch_add(bytes, Relaxed);
        Charge { account: Arc::clone(self), bytes, lease: Some(lease) }
    }

    /// Charges one more request of this connection, if it fits.
    pub(crate) fn one_more(self: &Arc<Self>, more: u64) -> Option<Charge> {
        self.charge(self.memory.plan().request() + more, Tier::More)
    }

    pub(super) fn holder(&self) -> Holder {
        let kind = [Kind::Opening, Kind::Http1, Kind::Http2]
            .into_iter()
            .find(|kind| *kind as u8 == self.kind.load(Relaxed))
            .unwrap_or(Kind::Opening);
        Holder {
            peer: self.peer,
            protocol: kind.name(),
            bytes: self.bytes.load(Relaxed),
            since_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// When memory is short nobody should have more than others.
    fn is_fair(&self, bytes: u64) -> bool {
        !self.memory.is_half_used()
            || self.bytes.load(Relaxed).saturating_add(bytes) <= self.memory.fair_share()
    }

    fn add(&self, lease: Lease, rescued: u64) {
        self.bytes.fetch_add(lease.bytes(), Relaxed);
        let mut held = self.held();
        held.rescued += rescued;
        // It comes from the same budget.
        let _ = held.lease.merge(lease);
    }

    // Nothing that can panic is done under this lock.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let rescued = self.held().rescued;
        self.give(rescued);
        self.memory.leave(self.key);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        match self.lease.take() {
            Some(lease) => {
                self.account.bytes.fetch_sub(self.bytes, Relaxed);
                drop(lease);
            }
            None => self.account.give(self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;

    async fn open(memory: &Memory, port: u16) -> Arc<Account> {
        Account::open(memory, memory.floor().await, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[tokio::test]
    async fn everything_comes_back() {
        let memory = Memory::new(Plan::new(64 << 20, false, false));
        let fixed = memory.facts().charged_bytes;
        let one = open(&memory, 1).await;
        assert_eq!(memory.facts().charged_bytes, fixed + memory.plan().floor());
        one.speaks(Kind::Http1);
        assert_eq!(memory.facts().charged_bytes, fixed + memory.plan().idle1());
        let request = one.request(10, Duration::ZERO).await.unwrap();
        assert_eq!(memory.holders(9)[0].bytes, memory.plan().idle1() + memory.plan().request() + 10);
        assert_eq!(memory.holders(9)[0].protocol, "http/1");
        drop(one);
        assert_eq!(memory.facts().holders, 1, "a request keeps its connection's account");
        drop(request);
        assert_eq!((memory.facts().charged_bytes, memory.facts().holders), (fixed, 0));
    }

    #[tokio::test]
    async fn what_is_kept_for_rescue_is_there_when_all_else_is_taken_and_comes_back() {
        let memory = Memory::new(Plan::new(64 << 20, false, false));
        let fixed = memory.facts().charged_bytes;
        let [one, two] = [open(&memory, 1).await, open(&memory, 2).await];
        while one.take(1 << 18, Tier::First) {}
        let kept = memory.plan().rescue();
        let charged = memory.facts().charged_bytes;
        assert!(
            !two.take(kept, Tier::Floor) && two.take(kept, Tier::Rescue) && !one.take(1 << 18, Tier::Rescue)
        );
        assert_eq!(memory.facts().charged_bytes, charged, "it was charged before");
        two.give(kept / 2);
        assert!(!one.take(1 << 18, Tier::First), "it is not for others");
        assert!(one.take(kept / 2, Tier::Rescue));
        drop((one, two));
        let three = open(&memory, 3).await;
        assert_eq!(memory.facts().charged_bytes, fixed + memory.plan().floor());
        assert!(memory.rescue(kept).is_some(), "all of it has come back");
        drop(three);
    }

    #[tokio::test]
    async fn who_has_much_gets_no_more_than_its_share() {
        let memory = Memory::new(Plan::new(64 << 20, false, false));
        let greedy = open(&memory, 1).await;
        let mut held: Vec<_> = std::iter::from_fn(|| greedy.one_more(0)).collect();
        assert!(memory.is_half_used());
        let polite = open(&memory, 2).await;
        // No more for the greedy one, although some of its own comes back.
        held.truncate(held.len() - 1);
        assert!(greedy.one_more(0).is_none());
        let first = polite.one_more(0);
        assert!(first.is_some());
        assert!(!greedy.take(1, Tier::Grow));
    }
}
