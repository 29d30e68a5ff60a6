//! Who waits where.
//!
//! An ask waits in the line of the budget it was made at, and never leaves it before it is served. The *line* is listed at
//! the budget that its first ask lacks room in: its own, or one above; and there by the side from which it comes, that
//! is the child through which the bytes would be charged. So bytes that come back are offered only to those that they may
//! help, and sides take turns however many lines stand behind each.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_control::credit::{Cause, NodeId, Urgency};
use tidegate_control::queue::{ClassQueue, Criticality, Entry};

use crate::wakes::Wakes;

use super::desk::{Desk, Stop};
use super::seat::Seat;

/// How many may go past an ask that only lacks room, before nobody does (as in the limiter's queue).
pub(super) const MAX_PASSES: u8 = 8;

/// Waiting at one budget, and before it.
pub(super) struct Stand {
    /// Asks made at this budget; the queue's classes are the urgencies.
    pub(super) line: ClassQueue<Arc<Seat>>,
    /// Where its first ask lacks room.
    pub(super) listed_at: Option<NodeId>,
    /// The children (or this budget itself) from which asks come that lack room here.
    pub(super) sides: VecDeque<NodeId>,
    /// The lines below this budget, or its own, whose first ask lacks room in the budget above it.
    pub(super) lines: VecDeque<NodeId>,
    /// Who only lacks room here, and how many went past it.
    pub(super) blocked: Option<Blocked>,
}

/// An ask that only lacks room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    pub(super) number: u64,
    pub(super) id: NodeId,
    pub(super) urgency: Urgency,
    pub(super) passes: u8,
}

impl Stand {
    fn new(capacity: usize) -> Self {
        let (sides, lines) = (VecDeque::new(), VecDeque::new());
        Self { line: ClassQueue::new(capacity), listed_at: None, sides, lines, blocked: None }
    }

    fn is_empty(&self) -> bool {
        self.line.is_empty() && self.sides.is_empty() && self.lines.is_empty()
    }
}

/// The class of the queue that stands for an urgency.
const fn class(urgency: Urgency) -> Criticality {
    match urgency {
        Urgency::New => Criticality::Sheddable,
        Urgency::Growth => Criticality::SheddablePlus,
        _ => Criticality::Critical,
    }
}

impl Desk {
    pub(super) fn stand(&self, at: NodeId) -> Option<&Stand> {
        self.node(at)?.stand.as_deref()
    }

    pub(super) fn stand_mut(&mut self, at: NodeId) -> Option<&mut Stand> {
        self.node_mut(at)?.stand.as_deref_mut()
    }

    fn stand_up(&mut self, at: NodeId) -> Option<&mut Stand> {
        let node = self.node_mut(at)?;
        let capacity = node.max_asks;
        Some(node.stand.get_or_insert_with(|| Box::new(Stand::new(capacity))))
    }

    /// The first ask of the line at `at`.
    pub(super) fn first(&self, at: NodeId) -> Option<&Arc<Seat>> {
        self.stand(at)?.line.iter().next().map(|entry| &entry.value)
    }

    /// Does anybody wait at `at` whom an ask of this urgency must not pass?
    pub(super) fn line_stands(&self, at: NodeId, urgency: Urgency) -> bool {
        self.first(at).is_some_and(|first| first.urgency >= urgency)
    }

    /// Lines an ask up at its budget. False if there is no place.
    pub(super) fn line_up(&mut self, seat: &Arc<Seat>, now: u64, wakes: &mut Wakes) -> bool {
        let entry =
            Entry { value: Arc::clone(seat), class: class(seat.urgency), weight: seat.need, since: now };
        let Some(stand) = self.stand_up(seat.id) else { return false };
        // Never displaces anybody: the places were counted before.
        let Ok(pushed) = stand.line.push(entry) else { return false };
        let _ = seat.place.set(pushed.place); // a new seat has none yet
        self.waiting += 1;
        self.count_asks(seat.id, |node| {
            node.asks += 1;
            node.asked = node.asked.saturating_add(seat.need);
        });
        if self.first(seat.id).is_some_and(|first| first.number == seat.number) {
            self.station(seat.id, None, now, wakes);
        }
        true
    }

    /// Takes an ask out of its line. The line has to be [stationed](Self::station) anew.
    pub(super) fn take_out(&mut self, seat: &Seat) {
        let Some(place) = seat.place.get() else { return };
        if self.stand_mut(seat.id).and_then(|stand| stand.line.remove(*place)).is_none() {
            return;
        }
        self.waiting -= 1;
        self.count_asks(seat.id, |node| {
            node.asks -= 1;
            node.asked = node.asked.saturating_sub(seat.need);
            let stand = node.stand.as_deref_mut();
            if let Some(blocked) = stand.map(|stand| &mut stand.blocked) {
                blocked.take_if(|blocked| blocked.number == seat.number);
            }
        });
    }

    fn count_asks(&mut self, id: NodeId, count: impl Fn(&mut super::desk::Node)) {
        let mut next = Some(id);
        while let Some(at) = next {
            if let Some(node) = self.node_mut(at) {
                count(node);
            }
            next = self.ledger.parent(at);
        }
    }

    /// Lists the line at `id` where its first ask lacks room (at `rest` if it lacks none), behind the others; strikes
    /// it from where it was listed. Asks that can never be served are refused.
    pub(super) fn station(&mut self, id: NodeId, rest: Option<NodeId>, now: u64, wakes: &mut Wakes) {
        let before = self.strike(id);
        while let Some(first) = self.first(id).map(Arc::clone) {
            let at = match self.fits_seat(&first) {
                Ok(()) => rest.unwrap_or(id),
                Err(stop) if stop.is(Cause::Never) => {
                    self.take_out(&first);
                    first.refuse(self.full(first.need, stop), wakes);
                    continue;
                }
                Err(stop) => stop.at(),
            };
            self.list(id, at, now);
            break;
        }
        self.tidy(id);
        if let Some((at, side)) = before {
            self.tidy(side);
            self.tidy(at);
        }
    }

    fn list(&mut self, id: NodeId, at: NodeId, now: u64) {
        let side = self.side(id, at);
        if let Some(stand) = self.stand_mut(id) {
            stand.listed_at = Some(at);
        }
        if side != at {
            if let Some(stand) = self.stand_up(side) {
                stand.lines.push_back(id);
            }
        }
        let Some(stand) = self.stand_up(at) else { return };
        if !stand.sides.contains(&side) {
            stand.sides.push_back(side);
        }
        if let Some(node) = self.node_mut(at) {
            node.rate.bound(now);
        }
    }

    /// Strikes the line from where it is listed, and says where that was. Its side, if others stand on it, goes behind the
    /// other sides.
    fn strike(&mut self, id: NodeId) -> Option<(NodeId, NodeId)> {
        let at = self.stand_mut(id)?.listed_at.take()?;
        let side = self.side(id, at);
        let mut more = false;
        if let Some(stand) = self.stand_mut(side).filter(|_| side != at) {
            stand.lines.retain(|line| *line != id);
            more = !stand.lines.is_empty();
        }
        if let Some(stand) = self.stand_mut(at) {
            stand.sides.retain(|other| *other != side);
            stand.sides.extend(more.then_some(side));
        }
        Some((at, side))
    }

    /// Where nobody waits nothing is kept.
    fn tidy(&mut self, at: NodeId) {
        let Some(node) = self.node_mut(at) else { return };
        let Some(stand) = node.stand.as_deref_mut() else { return };
        if stand.sides.is_empty() {
            stand.blocked = None;
            node.rate.unbound();
        }
        node.stand.take_if(|stand| stand.is_empty());
    }

    /// The child of `at` through which `id` is charged to it; `at` itself for its own.
    fn side(&self, id: NodeId, at: NodeId) -> NodeId {
        let mut side = id;
        for above in self.ledger.up(id) {
            if above == at {
                break;
            }
            side = above;
        }
        side
    }

    /// Could the ask on `seat` be served now?
    pub(super) fn fits_seat(&self, seat: &Seat) -> Result<(), Stop> {
        self.fits(seat.id, seat.need, seat.urgency, Some(seat.number))
    }

    pub(super) fn fits(
        &self,
        id: NodeId,
        need: u64,
        urgency: Urgency,
        number: Option<u64>,
    ) -> Result<(), Stop> {
        self.ledger.check(id, need, urgency).map_err(Stop::Short)?;
        self.closed_for(id, urgency, number).map_or(Ok(()), |at| Err(Stop::Turn(at)))
    }

    /// A budget on the way up in which somebody else is next.
    pub(super) fn closed_for(&self, id: NodeId, urgency: Urgency, number: Option<u64>) -> Option<NodeId> {
        self.ledger.up(id).find(|at| {
            let blocked = self.stand(*at).and_then(|stand| stand.blocked);
            blocked.is_some_and(|blocked| {
                blocked.passes >= MAX_PASSES
                    && blocked.urgency >= urgency
                    && number.is_none_or(|number| number != blocked.number)
            })
        })
    }

    /// Somebody is served at `id`: it goes past whoever lacks room on the way up.
    pub(super) fn count_passes(&mut self, id: NodeId, urgency: Urgency, number: Option<u64>) {
        self.count_asks(id, |node| {
            let stand = node.stand.as_deref_mut();
            let Some(blocked) = stand.and_then(|stand| stand.blocked.as_mut()) else { return };
            if blocked.urgency >= urgency && number.is_none_or(|number| number != blocked.number) {
                blocked.passes = blocked.passes.saturating_add(1);
            }
        });
    }
}
