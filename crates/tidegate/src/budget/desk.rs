//! What the lock protects: the nodes, and who waits for what.
//!
//! While nobody waits, an event is a few additions in the ledger. Otherwise it ends with [`Desk::serve_up`], which hands
//! what is free to who is next.

use std::sync::Arc;
use std::time::Duration;

use tidegate_control::credit::{Cause, Ledger, NodeId, Short, Urgency};
use tidegate_control::wait::DrainRate;

use crate::clock::Clock;
use crate::refused::Reason;
use crate::wakes::Wakes;

use super::full::Full;
use super::line::Stand;
use super::seat::{Leaving, Seat};
use super::unclaimed::Unclaimed;

/// What is kept of a budget beside its node.
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) id: NodeId,
    /// When it began to hold bytes itself.
    pub(super) since: u64,
    /// Asks that wait at it and below, how many may, and the bytes they wait for.
    pub(super) asks: usize,
    pub(super) max_asks: usize,
    pub(super) asked: u64,
    /// Bytes that come back per second while somebody waits for them here.
    pub(super) rate: DrainRate,
    pub(super) stand: Option<Box<Stand>>,
}

/// Why an ask is not served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Short(Short),
    /// Others wait for room in this node, and enough have gone past them.
    Turn(NodeId),
}

impl Stop {
    pub(super) fn at(self) -> NodeId {
        match self {
            Self::Short(short) => short.at,
            Self::Turn(at) => at,
        }
    }

    pub(super) fn is(self, cause: Cause) -> bool {
        matches!(self, Self::Short(short) if short.cause == cause)
    }
}

/// How an ask that may wait is answered.
pub(super) enum Entered {
    Granted,
    /// On this seat; to look again at that time.
    Waits(Arc<Seat>, u64),
}

pub(super) struct Desk {
    pub(super) ledger: Ledger,
    pub(super) nodes: Vec<Option<Node>>,
    /// Asks that wait in the whole tree.
    pub(super) waiting: usize,
    /// Is anything divided by shares?
    pub(super) shares: bool,
    pub(super) unclaimed: Unclaimed,
    numbers: u64,
}

impl Desk {
    pub(super) fn new(name: Arc<str>, limit: u64, reserve: u64, waiters: usize) -> (Self, NodeId) {
        let (ledger, root) = Ledger::new(limit, reserve);
        let unclaimed = Unclaimed::default();
        let mut desk = Self { ledger, nodes: Vec::new(), waiting: 0, shares: false, unclaimed, numbers: 0 };
        desk.settle(root, name, waiters);
        (desk, root)
    }

    fn settle(&mut self, id: NodeId, name: Arc<str>, max_asks: usize) {
        let rate = DrainRate::default();
        let node = Node { name, id, since: 0, asks: 0, max_asks, asked: 0, rate, stand: None };
        if self.nodes.len() <= id.index() {
            self.nodes.resize_with(id.index() + 1, || None);
        }
        if let Some(place) = self.nodes.get_mut(id.index()) {
            *place = Some(node);
        }
    }

    /// A new budget below `parent`.
    pub(super) fn open(
        &mut self,
        parent: NodeId,
        name: Arc<str>,
        (limit, share, work, waiters): (u64, u32, bool, usize),
    ) -> Option<NodeId> {
        let id = self.ledger.open(parent, limit, share, work)?;
        self.settle(id, name, waiters);
        self.shares |= share > 0;
        Some(id)
    }

    /// Nobody holds the budget any more, nor bytes of it. Hands out what is to be dropped when the lock is free.
    pub(super) fn close(&mut self, id: NodeId, clock: &Clock, wakes: &mut Wakes) -> Option<Node> {
        let parent = self.ledger.parent(id);
        self.ledger.close(id);
        let node = self.nodes.get_mut(id.index()).and_then(Option::take);
        if let Some(parent) = parent.filter(|_| self.waiting > 0) {
            self.serve_up(parent, clock.now(), wakes);
        }
        node
    }

    /// Charges `bytes` now, or not at all.
    #[inline]
    pub(super) fn ask(
        &mut self,
        id: NodeId,
        bytes: u64,
        urgency: Urgency,
        clock: &Clock,
    ) -> Result<(), Full> {
        if self.waiting > 0 && bytes > 0 {
            if let Some(at) = self.closed_for(id, urgency, None) {
                return Err(self.full(bytes, Stop::Turn(at)));
            }
        }
        if let Err(short) = self.ledger.charge(id, bytes, urgency) {
            self.charge_again(id, bytes, urgency, short, clock.now())?;
        }
        if self.waiting > 0 {
            self.count_passes(id, urgency, None);
        }
        self.begin(id, bytes, clock);
        Ok(())
    }

    /// Charges `bytes` if what they would exceed is a share, and others that had one do not ask any more. Else notes who
    /// asked in vain.
    #[cold]
    fn charge_again(
        &mut self,
        id: NodeId,
        bytes: u64,
        urgency: Urgency,
        short: Short,
        now: u64,
    ) -> Result<(), Full> {
        let stale = short.cause == Cause::Share && self.ledger.forget_wants(short.at, now);
        let again = if stale { self.ledger.charge(id, bytes, urgency) } else { Err(short) };
        again.map_err(|short| {
            self.ledger.want(id, short, now);
            self.full(bytes, Stop::Short(short))
        })
    }

    /// Notes since when `id` holds bytes, if these are its first.
    #[inline]
    pub(super) fn begin(&mut self, id: NodeId, bytes: u64, clock: &Clock) {
        if bytes > 0 && self.ledger.direct(id) == bytes {
            if let Some(Some(node)) = self.nodes.get_mut(id.index()) {
                node.since = clock.now();
            }
        }
    }

    /// `bytes` come back.
    #[inline]
    pub(super) fn give(&mut self, id: NodeId, bytes: u64, clock: &Clock, wakes: &mut Wakes) {
        self.ledger.give(id, bytes);
        if self.waiting > 0 {
            let now = clock.now();
            self.note_return(id, bytes, now);
            self.serve_up(id, now, wakes);
        }
    }

    /// Moves `bytes` from one node to another.
    pub(super) fn transfer(
        &mut self,
        (from, to): (NodeId, NodeId),
        bytes: u64,
        clock: &Clock,
        wakes: &mut Wakes,
    ) -> Result<(), Full> {
        if self.waiting > 0 {
            // What is above both is not charged, so nobody is passed there.
            let closed = self.closed_for(to, Urgency::InProgress, None);
            if let Some(at) = closed.filter(|at| self.ledger.up(from).all(|above| above != *at)) {
                return Err(self.full(bytes, Stop::Turn(at)));
            }
        }
        self.ledger.transfer(from, to, bytes).map_err(|short| self.full(bytes, Stop::Short(short)))?;
        self.begin(to, bytes, clock);
        if self.waiting > 0 {
            self.serve_up(from, clock.now(), wakes);
        }
        Ok(())
    }

    pub(super) fn set_limit(&mut self, id: NodeId, limit: u64, clock: &Clock, wakes: &mut Wakes) {
        self.ledger.set_limit(id, limit);
        if self.waiting > 0 {
            self.serve_up(id, clock.now(), wakes);
        }
    }

    /// Charges `bytes`, or lines the ask up; not if it would have to wait for more than `patience`.
    pub(super) fn enter(
        &mut self,
        (id, bytes, urgency): (NodeId, u64, Urgency),
        patience: Option<Duration>,
        clock: &Clock,
        wakes: &mut Wakes,
    ) -> Result<Entered, Full> {
        // Whoever may wait does not go past those that wait at the same budget.
        if !self.line_stands(id, urgency) {
            match self.ask(id, bytes, urgency, clock) {
                Ok(()) => return Ok(Entered::Granted),
                Err(full) if !full.ever => return Err(full),
                Err(_) => {}
            }
        }
        let stop = self.fits(id, bytes, urgency, None).err().unwrap_or(Stop::Turn(id));
        let now = clock.now();
        if let Some(node) = self.node_mut(stop.at()) {
            node.rate.recall(now);
        }
        let full = self.full(bytes, stop);
        if !full.ever {
            return Err(full);
        }
        if let Some(at) = self.ledger.up(id).find(|at| self.places_taken(*at)) {
            let at = self.name(at);
            return Err(Full { reason: Reason::QueueFull, at, ..full });
        }
        if patience.zip(full.wait).is_some_and(|(patience, wait)| wait > patience) {
            return Err(Full { reason: Reason::WaitTooLong, ..full });
        }
        self.numbers += 1;
        let seat = Arc::new(Seat::new(self.numbers, id, bytes, urgency));
        if !self.line_up(&seat, now, wakes) {
            return Err(Full { reason: Reason::QueueFull, ..full });
        }
        self.serve_up(id, now, wakes);
        Ok(Entered::Waits(seat, self.next_look(now)))
    }

    /// Time has passed: one that asked in vain may be forgotten by now, and its share be had by others; what somebody was
    /// granted and did not fetch passes on. When to look once more.
    pub(super) fn look_again(&mut self, seat: &Seat, clock: &Clock, wakes: &mut Wakes) -> u64 {
        let now = clock.now();
        self.serve_up(seat.id, now, wakes);
        self.next_look(now)
    }

    /// The ask on `seat` is given up. Says what it left, and hands out the waker.
    pub(super) fn leave(
        &mut self,
        seat: &Seat,
        clock: &Clock,
        wakes: &mut Wakes,
    ) -> (Leaving, Option<std::task::Waker>) {
        let (leaving, waker) = seat.leave();
        if leaving == Leaving::Place {
            let now = clock.now();
            self.take_out(seat);
            self.station(seat.id, None, now, wakes);
            if self.waiting > 0 {
                self.serve_up(seat.id, now, wakes);
            }
        }
        (leaving, waker)
    }

    /// What a refusal says.
    pub(super) fn full(&self, need: u64, stop: Stop) -> Full {
        let at = stop.at();
        let (reason, ever, free) = match stop {
            Stop::Turn(at) => (Reason::Memory, true, self.ledger.free(at)),
            Stop::Short(Short { cause, free, .. }) => {
                let reason = if cause == Cause::Share { Reason::TenantShare } else { Reason::Memory };
                (reason, cause != Cause::Never, free)
            }
        };
        let wait = if ever { self.predict(at, need) } else { None };
        Full { need, free, wait, reason, ever, at: self.name(at) }
    }

    /// How long until `need` bytes more have come back at `at` than those before it wait for.
    fn predict(&self, at: NodeId, need: u64) -> Option<Duration> {
        let node = self.node(at)?;
        let free = self.ledger.limit(at).saturating_sub(self.ledger.used(at));
        let missing = node.asked.saturating_add(need).saturating_sub(free);
        node.rate.predict(missing, None).map(|prediction| Duration::from_nanos(prediction.p50))
    }

    fn places_taken(&self, at: NodeId) -> bool {
        self.node(at).is_none_or(|node| node.asks >= node.max_asks)
    }

    fn name(&self, at: NodeId) -> Arc<str> {
        self.node(at).map_or_else(|| Arc::from(""), |node| Arc::clone(&node.name))
    }

    pub(super) fn node(&self, at: NodeId) -> Option<&Node> {
        self.nodes.get(at.index())?.as_ref()
    }

    pub(super) fn node_mut(&mut self, at: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(at.index())?.as_mut()
    }
}
