//! [`Account`]: what one connection holds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate::budget::Lease;
use tokio::time::{Instant, sleep, timeout};

use super::party::{Held, Party};
use super::pool::AGAIN;
use super::share::Source;
use super::{Holder, Kind, Memory, Tier};

/// How often those look again that come after others.
const AFTER_OTHERS: Duration = Duration::from_millis(50);

/// What one connection holds. What is charged to it comes back when the last that can hold its bytes is dropped: its
/// task, its streams, a tunnel.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Memory,
    key: usize,
    peer: SocketAddr,
    since: Instant,
    kind: AtomicU8,
    /// What its connection holds has its only request's bytes already.
    paid_ahead: AtomicBool,
    party: Party,
    /// What all connections of its party hold.
    together: Arc<Held>,
    leased: Mutex<Leased>,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Leased {
    lease: Lease,
    aside: Aside,
}

/// So much of a lease is from what is kept for a purpose, and goes back there first.
#[derive(Clone, Copy, Debug, Default)]
struct Aside {
    /// For [`Tier::Rescue`].
    rescue: u64,
    /// For parties that hold little.
    newcomer: u64,
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
    /// The account of a connection that is let in, with its floor.
    pub(super) fn open(
        memory: &Memory,
        floor: Lease,
        source: Source,
        peer: SocketAddr,
        (party, together): (Party, Arc<Held>),
    ) -> Arc<Self> {
        let bytes = floor.bytes();
        let newcomer = if source == Source::Kept { bytes } else { 0 };
        memory.enter(|key| {
            Arc::new(Self {
                memory: memory.clone(),
                key,
                peer,
                since: Instant::now(),
                kind: AtomicU8::new(Kind::Opening as u8),
                paid_ahead: AtomicBool::new(false),
                party,
                together,
                bytes: AtomicU64::new(bytes),
                leased: Mutex::new(Leased { lease: floor, aside: Aside { rescue: 0, newcomer } }),
            })
        })
    }

    /// The budget behind it.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Says what the connection speaks. HTTP/1 gives back what only HTTP/2 needs, and while there is plenty it keeps what its
    /// requests need, one after the other: what all connections charge and give back all the time, they all wait for.
    pub(crate) fn speaks(&self, kind: Kind) {
        self.kind.store(kind as u8, Relaxed);
        if kind == Kind::Http1 {
            let plan = self.memory.plan();
            let ahead = self.memory.fits(0, Tier::Ahead);
            self.paid_ahead.store(ahead, Relaxed);
            self.give(plan.floor() - plan.idle1() - if ahead { plan.request() } else { 0 });
        }
    }

    /// It has become a tunnel: there will be no request any more.
    pub(crate) fn keeps_no_request(&self) {
        if self.paid_ahead.swap(false, Relaxed) {
            self.give(self.memory.plan().request());
        }
    }

    /// What is to be charged for its only request, which takes `more` than every one does.
    fn of_request(&self, more: u64) -> u64 {
        more + if self.paid_ahead.load(Relaxed) { 0 } else { self.memory.plan().request() }
    }

    /// Is a request that takes nothing beyond what every one does paid for already?
    pub(crate) fn is_paid_ahead(&self) -> bool {
        self.paid_ahead.load(Relaxed)
    }

    /// Charges `bytes` more, if they fit.
    pub(crate) fn take(&self, bytes: u64, tier: Tier) -> bool {
        if matches!(tier, Tier::More | Tier::Grow) && !self.is_fair(bytes) {
            return false;
        }
        let (lease, aside) = if let Some(lease) = self.memory.lease(bytes, tier) {
            (Some(lease), Aside::default())
        } else {
            match tier {
                Tier::Ahead | Tier::More | Tier::Grow => return false,
                Tier::Rescue => (self.memory.rescue(bytes), Aside { rescue: bytes, newcomer: 0 }),
                Tier::Floor | Tier::First => (self.of_newcomers(bytes), Aside { rescue: 0, newcomer: bytes }),
            }
        };
        let Some(lease) = lease else { return false };
        self.add(lease, aside);
        true
    }

    /// Gives `bytes` back.
    pub(crate) fn give(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.bytes.fetch_sub(bytes, Relaxed);
        let (mut part, aside) = {
            let mut leased = self.leased();
            let rescue = leased.aside.rescue.min(bytes);
            let newcomer = leased.aside.newcomer.min(bytes - rescue);
            leased.aside.rescue -= rescue;
            leased.aside.newcomer -= newcomer;
            (leased.lease.split(bytes), Aside { rescue, newcomer })
        };
        self.together.give(bytes, aside.newcomer);
        if let Some(part) = &mut part {
            if let Some(kept) = part.split(aside.rescue).filter(|kept| kept.bytes() > 0) {
                self.memory.rescued(kept);
            }
            if let Some(kept) = part.split(aside.newcomer).filter(|kept| kept.bytes() > 0) {
                self.memory.newcomer_left(kept);
            }
        }
        // After the lock, since whoever waits for it is woken here.
        drop(part);
    }

    /// Charges `bytes` until the charge is dropped, if they fit.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64, tier: Tier) -> Option<Charge> {
        self.take(bytes, tier).then(|| Charge { account: Arc::clone(self), bytes, lease: None })
    }

    /// Charges a connection's only request, if it fits now. What comes free is not for a party beyond its share while one
    /// that is not waits for a floor.
    pub(crate) fn request_now(self: &Arc<Self>, more: u64) -> Option<Charge> {
        let bytes = self.of_request(more);
        if self.memory.is_any_owed() && !self.is_within_share(bytes) {
            return None;
        }
        match self.memory.lease(bytes, Tier::First) {
            Some(lease) => Some(self.charged(lease)),
            None => self.of_newcomers(bytes).map(|lease| self.charged_of_newcomers(lease)),
        }
    }

    /// Charges a connection's only request. **When full**: waits its turn, for `within` at most. Those of a party that is
    /// beyond its share come after the others, in no order. **When cancelled**: nothing is charged.
    pub(crate) async fn request(self: &Arc<Self>, more: u64, within: Duration) -> Option<Charge> {
        match self.request_now(more) {
            Some(charge) => Some(charge),
            None => timeout(within, self.await_request(more, within)).await.ok(),
        }
    }

    async fn await_request(self: &Arc<Self>, more: u64, within: Duration) -> Charge {
        let bytes = self.of_request(more);
        while !self.is_within_share(bytes) {
            sleep(AFTER_OTHERS).await;
            if let Some(charge) = self.request_now(more) {
                return charge;
            }
        }
        tokio::select! {
            biased;
            Some(lease) = self.memory.wait(bytes, within) => self.charged(lease),
            lease = self.await_newcomers(bytes) => self.charged_of_newcomers(lease),
        }
    }

    fn charged(self: &Arc<Self>, lease: Lease) -> Charge {
        let bytes = lease.bytes();
        self.bytes.fetch_add(bytes, Relaxed);
        self.together.add(bytes, 0);
        Charge { account: Arc::clone(self), bytes, lease: Some(lease) }
    }

    fn charged_of_newcomers(self: &Arc<Self>, lease: Lease) -> Charge {
        let bytes = lease.bytes();
        self.add(lease, Aside { rescue: 0, newcomer: bytes });
        Charge { account: Arc::clone(self), bytes, lease: None }
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

    /// When memory is short nobody should have more than others, neither a connection nor a party.
    fn is_fair(&self, bytes: u64) -> bool {
        !self.memory.is_half_used()
            || (self.bytes.load(Relaxed).saturating_add(bytes) <= self.memory.fair_share()
                && self.is_within_share(bytes))
    }

    fn is_within_share(&self, bytes: u64) -> bool {
        self.memory.is_within_share(&self.party, &self.together, bytes)
    }

    fn of_newcomers(&self, bytes: u64) -> Option<Lease> {
        self.memory.of_newcomers(&self.party, &self.together, bytes)
    }

    async fn await_newcomers(&self, bytes: u64) -> Lease {
        loop {
            sleep(AGAIN).await;
            if let Some(lease) = self.of_newcomers(bytes) {
                return lease;
            }
        }
    }

    fn add(&self, lease: Lease, aside: Aside) {
        self.bytes.fetch_add(lease.bytes(), Relaxed);
        self.together.add(lease.bytes(), aside.newcomer);
        let mut leased = self.leased();
        leased.aside.rescue += aside.rescue;
        leased.aside.newcomer += aside.newcomer;
        // It comes from the same budget.
        let _ = leased.lease.merge(lease);
    }

    // Nothing that can panic is done under this lock.
    fn leased(&self) -> MutexGuard<'_, Leased> {
        self.leased.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let all = self.leased().lease.bytes();
        self.give(all);
        self.memory.leave(self.key, &self.party);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        match self.lease.take() {
            Some(lease) => {
                self.account.bytes.fetch_sub(self.bytes, Relaxed);
                self.account.together.give(self.bytes, 0);
                drop(lease);
            }
            None => self.account.give(self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, Plan};
    use super::*;

    fn open(memory: &Memory, client: u8) -> Arc<Account> {
        match memory.arrive(SocketAddr::from(([127, 0, 0, client], 1)), false, false) {
            Arrival::In(account) => account,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn everything_comes_back() {
        let memory = Memory::new(Plan::new(64 << 20, false, false));
        let fixed = memory.facts().charged_bytes;
        let one = open(&memory, 1);
        assert_eq!(memory.facts().charged_bytes, fixed + memory.plan().floor());
        one.speaks(Kind::Http1);
        let ahead = memory.plan().idle1() + memory.plan().request();
        assert_eq!(memory.facts().charged_bytes, fixed + ahead, "there is plenty");
        let request = one.request(10, Duration::ZERO).await.unwrap();
        assert_eq!(memory.holders(9)[0].bytes, memory.plan().idle1() + memory.plan().request() + 10);
        assert_eq!(memory.holders(9)[0].protocol, "http/1");
        drop(one);
        assert_eq!(memory.facts().holders, 1, "a request keeps its connection's account");
        drop(request);
        assert_eq!((memory.facts().charged_bytes, memory.facts().holders), (fixed, 0));
    }

    #[tokio::test]
    async fn only_while_there_is_plenty_are_requests_paid_for_ahead() {
        let memory = Memory::new(Plan::new(64 << 20, false, false));
        let (fixed, plan) = (memory.facts().charged_bytes, *memory.plan());
        let mut all = Vec::new();
        let mut ahead = 0;
        for client in 0..=255 {
            let one = open(&memory, client);
            one.speaks(Kind::Http1);
            let before = memory.facts().charged_bytes;
            let request = one.request_now(0).unwrap();
            let charged = memory.facts().charged_bytes - before;
            assert_eq!(charged, if one.is_paid_ahead() { 0 } else { plan.request() });
            drop(request);
            ahead += u64::from(one.is_paid_ahead());
            all.push(one);
        }
        // The last of them passes the mark, and a floor stood beside it when it was asked.
        let mark = plan.tier(super::super::plan::AHEAD_SHARE);
        let each = plan.idle1() + plan.request();
        assert!(ahead > 1 && (ahead - 1) * each <= mark && mark <= ahead * each + plan.floor(), "{ahead}");
        assert_eq!(memory.facts().charged_bytes, fixed + ahead * plan.request() + 256 * plan.idle1());
        drop(all);
        assert_eq!(memory.facts().charged_bytes, fixed);
    }

    #[tokio::test]
    async fn what_is_kept_for_rescue_is_there_when_all_else_is_taken_and_comes_back() {
        let memory = Memory::new(Plan::new(64 << 20, false, false));
        let fixed = memory.facts().charged_bytes;
        let [one, two] = [open(&memory, 1), open(&memory, 2)];
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
        let three = open(&memory, 3);
        assert_eq!(memory.facts().charged_bytes, fixed + memory.plan().floor());
        assert!(memory.rescue(kept).is_some(), "all of it has come back");
        drop(three);
    }

    #[tokio::test]
    async fn who_has_much_gets_no_more_than_its_share() {
        let memory = Memory::new(Plan::new(64 << 20, false, false));
        let greedy = open(&memory, 1);
        let mut held: Vec<_> = std::iter::from_fn(|| greedy.one_more(0)).collect();
        assert!(memory.is_half_used());
        let polite = open(&memory, 2);
        // No more for the greedy one, although some of its own comes back.
        held.truncate(held.len() - 1);
        assert!(greedy.one_more(0).is_none());
        let first = polite.one_more(0);
        assert!(first.is_some());
        assert!(!greedy.take(1, Tier::Grow));
    }
}
