//! What both ends share: the queue and its credit behind one lock, and the [outlet](super::outlet) behind another.
//!
//! A lock is held for a push or a pop and some additions. Items, wakers and senders are dropped, and wakers called, when
//! both are free.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::Waker;

use crate::budget::{Budget, Lease};
use crate::clock::Clock;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::wakes::Wakes;

use super::account::Account;
use super::config::{Config, Overflow, Oversize};
use super::due::Spent;
use super::ledger::{Amount, Door, Ledger, Need};
use super::outlet::Outlet;
use super::sender::Sender;
use super::sent::{Full, Why};
use super::span::Span;

/// An item in the queue.
pub(super) struct Queued<T> {
    pub(super) item: T,
    pub(super) need: Need,
    /// When its credit was charged.
    pub(super) since: u64,
    /// Its bytes in the budget behind the channel, if there is one.
    pub(super) lease: Option<Box<Lease>>,
}

pub(super) struct Core<T> {
    pub(super) ledger: Ledger,
    pub(super) queue: VecDeque<Queued<T>>,
    /// The receiver's waker while it waits for an item.
    pub(super) parked: Option<Waker>,
    pub(super) senders: usize,
    /// What is done with an item for which there is no room.
    pub(super) overflow: Policy<T>,
}

/// [`Overflow`], as the lock wants it: taken along in one step.
pub(super) enum Policy<T> {
    Wait,
    Refuse,
    DropNewest,
    DropOldest,
    /// Given up when nobody sends any more, so that the other channel can end as well.
    Reroute(Arc<Sender<T>>),
}

impl<T> From<Overflow<T>> for Policy<T> {
    fn from(overflow: Overflow<T>) -> Self {
        match overflow {
            Overflow::Wait => Self::Wait,
            Overflow::Refuse => Self::Refuse,
            Overflow::DropNewest => Self::DropNewest,
            Overflow::DropOldest => Self::DropOldest,
            Overflow::Reroute(to) => Self::Reroute(Arc::new(to)),
        }
    }
}

/// Numbers given to channels.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

pub(super) struct Shared<T> {
    number: u64,
    core: Mutex<Core<T>>,
    outlet: Mutex<Outlet<T>>,
    /// What [`Returns::attention`](super::outlet::Returns) was: saves a release the way to the outlet when it has to go to the
    /// ledger anyway. Only a hint.
    attention: AtomicBool,
    pub(super) weigh: fn(&T) -> u64,
    pub(super) per_item: u64,
    pub(super) max_items: usize,
    pub(super) max_bytes: u64,
    pub(super) oversize: Oversize,
    pub(super) budget: Option<Budget>,
    /// Channels behind this one.
    pub(super) depth: u8,
}

impl<T> Core<T> {
    /// Puts an item into the queue for which there is room. The receiver, if it sleeps.
    #[inline(always)] // as whoever calls it: an item is large to hand on
    pub(super) fn put(&mut self, item: T, need: Need, lease: Option<Box<Lease>>) -> Option<Waker> {
        let since = self.ledger.admit(need);
        self.queue.push_back(Queued { item, need, since, lease });
        self.parked.take()
    }

    /// Puts an item into the queue whose room was reserved.
    pub(super) fn put_reserved(
        &mut self,
        item: T,
        need: Need,
        since: u64,
        lease: Option<Box<Lease>>,
    ) -> Option<Waker> {
        self.ledger.enter(need.bytes);
        self.queue.push_back(Queued { item, need, since, lease });
        self.parked.take()
    }

    /// The next item, while no look at the clock is due that would have to know what the outlet has noted.
    #[inline]
    pub(super) fn take_alone(&mut self) -> Option<Queued<T>> {
        if !self.ledger.pace.shares() {
            return None;
        }
        let queued = self.queue.pop_front()?;
        self.ledger.deliver(queued.need.bytes);
        Some(queued)
    }

    /// Will nothing come any more? The outlet is empty.
    pub(super) fn is_over(&self) -> bool {
        let nobody = self.senders == 0 || self.ledger.door != Door::Open;
        nobody && self.queue.is_empty() && self.ledger.reserved.items == 0
    }

    /// The way to the next channel, once nobody sends any more; to be dropped when the lock is free.
    pub(super) fn retire(&mut self) -> Option<Policy<T>> {
        let nobody = self.senders == 0 || self.ledger.door != Door::Open;
        nobody.then(|| std::mem::replace(&mut self.overflow, Policy::Refuse))
    }

    /// The receiver, if it sleeps although nothing will come any more.
    pub(super) fn wake_at_the_end(&mut self, wakes: &mut Wakes) {
        if self.is_over() {
            wakes.extend(self.parked.take());
        }
    }

    /// Pops the oldest queued items until `need` fits, and until they held as much, if the budget is `spent`; `None`, and
    /// nothing is popped, if that does not help.
    pub(super) fn displace(
        &mut self,
        outlet: &mut Outlet<T>,
        need: u64,
        spent: bool,
    ) -> Option<Vec<Queued<T>>> {
        let newcomer_first = !self.ledger.somebody_waits();
        let (mut bytes, mut places) = match newcomer_first {
            true => (self.ledger.free(), self.ledger.free_items()),
            // What is free belongs to those that wait.
            false => (0, 0),
        };
        let (mut leaving, mut held) = (0, if spent { 0 } else { need });
        for queued in outlet.queue.iter().chain(&self.queue) {
            if bytes >= need && places > 0 && held >= need {
                break;
            }
            held = held.saturating_add(queued.need.bytes);
            bytes = bytes.saturating_add(queued.need.bytes);
            places += 1;
            leaving += 1;
        }
        let alone = newcomer_first
            && leaving == outlet.queue.len() + self.queue.len()
            && self.ledger.charged() == self.ledger.queued;
        if held < need || !(bytes >= need && places > 0 || alone) {
            return None;
        }
        let there = leaving.min(outlet.queue.len());
        let displaced: Vec<_> =
            outlet.queue.drain(..there).chain(self.queue.drain(..leaving - there)).collect();
        for queued in &displaced {
            self.ledger.displace(queued.need, queued.since);
        }
        self.ledger.tally.displaced_oldest += displaced.len() as u64;
        Some(displaced)
    }

    /// A refusal, counted.
    pub(super) fn refuse<I>(&mut self, item: I, need: u64, why: Why) -> Full<I> {
        self.ledger.tally.refuse(why);
        self.full(item, need, why)
    }

    /// The same where it is the budget that has no room.
    pub(super) fn refuse_spent<I>(&mut self, item: I, need: u64, spent: &Spent) -> Full<I> {
        self.ledger.tally.refuse(spent.why());
        spent.full(item, need)
    }

    pub(super) fn full<I>(&self, item: I, need: u64, why: Why) -> Full<I> {
        let wait = self.ledger.room_in(need);
        let known = wait.samples > 0 && why != Why::Oversize;
        Full { item, need, free: self.ledger.free(), retry_after: known.then_some(wait.expected), why }
    }
}

impl<T> Shared<T> {
    pub(super) fn new(config: Config<T>, depth: u8, clock: Clock) -> Arc<Self> {
        let max = Amount { bytes: config.max_bytes, items: config.max_items };
        let least = config.min_bytes.unwrap_or(config.max_bytes / 16).max(1);
        let span = config.target_delay.map(|delay| Span::new(delay, least, config.max_bytes));
        let mut outlet = Outlet::new();
        outlet.returns.attention = span.is_some();
        let core = Core {
            ledger: Ledger::new(max, config.max_waiters, span, clock),
            queue: VecDeque::new(),
            parked: None,
            senders: 0,
            overflow: config.overflow.into(),
        };
        Arc::new(Self {
            number: NUMBERS.fetch_add(1, Relaxed),
            core: Mutex::new(core),
            attention: AtomicBool::new(outlet.returns.attention),
            outlet: Mutex::new(outlet),
            weigh: config.weigh,
            per_item: config.per_item,
            max_items: config.max_items,
            max_bytes: config.max_bytes,
            oversize: config.oversize,
            budget: config.budget,
            depth,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core<T>> {
        lock(&self.core)
    }

    pub(super) fn lock_outlet(&self) -> MutexGuard<'_, Outlet<T>> {
        lock(&self.outlet)
    }

    /// Brings the ledger up to date; the outlet, still locked.
    pub(super) fn fold(&self, core: &mut Core<T>) -> MutexGuard<'_, Outlet<T>> {
        let mut outlet = self.lock_outlet();
        core.ledger.fold(&mut outlet.returns);
        outlet
    }

    /// From now on releases are brought to the ledger, or noted in the outlet, as the ledger wants it.
    pub(super) fn attend(&self, core: &Core<T>, outlet: &mut Outlet<T>) {
        let attention = core.ledger.wants_attention();
        if outlet.returns.attention != attention {
            outlet.returns.attention = attention;
            self.attention.store(attention, Relaxed);
        }
    }

    /// What an item of this weight is charged.
    pub(super) fn charge_of(&self, weight: u64) -> u64 {
        weight.saturating_add(self.per_item)
    }

    /// Is it larger than anything that can enter?
    pub(super) fn is_oversize(&self, bytes: u64) -> bool {
        bytes > self.max_bytes && self.oversize == Oversize::Refuse
    }

    /// Gives up a seat before its credit was fetched.
    pub(super) fn vacate(&self, seat: u32, canceled: bool) {
        let mut wakes = Wakes::default();
        let mut core = self.lock();
        let waker = core.ledger.vacate(seat, &mut wakes);
        core.ledger.tally.canceled += u64::from(canceled);
        core.wake_at_the_end(&mut wakes);
        drop(core);
        drop(waker);
        wakes.run();
    }

    /// Gives back what was reserved, or a part of it.
    pub(super) fn unreserve(&self, need: Need, items: usize, since: u64) {
        let mut wakes = Wakes::default();
        let mut core = self.lock();
        core.ledger.unreserve(need, items, since, &mut wakes);
        core.wake_at_the_end(&mut wakes);
        drop(core);
        wakes.run();
    }
}

impl<T: Send> Account for Shared<T> {
    fn number(&self) -> u64 {
        self.number
    }

    fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }

    fn with(&self, job: &mut dyn FnMut(&mut Ledger)) {
        let mut core = self.lock();
        let mut outlet = self.fold(&mut core);
        job(&mut core.ledger);
        self.attend(&core, &mut outlet);
    }

    fn release(&self, need: Need, items: usize, since: u64) {
        if !self.attention.load(Relaxed) {
            let mut outlet = self.lock_outlet();
            if !outlet.returns.attention {
                outlet.returns.free(need, items, since);
                return;
            }
        }
        let mut wakes = Wakes::default();
        let mut core = self.lock();
        let mut outlet = self.fold(&mut core);
        core.ledger.release(need, items, since);
        core.ledger.grant(&mut wakes);
        self.attend(&core, &mut outlet);
        drop(outlet);
        drop(core);
        wakes.run();
    }
}
