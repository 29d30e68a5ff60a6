//! Who is next.
//!
//! At every budget: the most urgent; among those the side that holds least of its share; on a side its lines in turn; in
//! a line the first that fits. Whoever lacks nothing but room is passed by eight at most, and then has its turn.

use std::sync::Arc;

use tidegate_control::credit::{Cause, NodeId};

use crate::wakes::Wakes;

use super::desk::{Desk, Stop};
use super::line::{Blocked, MAX_PASSES};
use super::seat::Seat;

/// How many are looked at for one that fits, so that a turn costs the same however many wait: sides of a budget, lines of
/// a side, asks of a line.
const LOOK: (usize, usize, usize) = (32, 4, 8);

enum Choice {
    Serve(Arc<Seat>),
    /// The first ask of this line lacks something elsewhere by now.
    Move(NodeId),
    Nobody,
}

impl Desk {
    /// Hands what is free at `id` and above to who is next. The topmost first: what is short for many goes to who is
    /// next among many.
    pub(super) fn serve_up(&mut self, id: NodeId, now: u64, wakes: &mut Wakes) {
        let freed = self.take_back_unclaimed(now);
        self.serve_path(id, now, wakes);
        for id in freed {
            self.serve_path(id, now, wakes);
        }
    }

    fn serve_path(&mut self, id: NodeId, now: u64, wakes: &mut Wakes) {
        let path: Vec<NodeId> = self.ledger.up(id).collect();
        for at in path.into_iter().rev() {
            self.serve(at, now, wakes);
        }
    }

    /// `bytes` came back at `id`: the pace of those for whom somebody waits.
    pub(super) fn note_return(&mut self, id: NodeId, bytes: u64, now: u64) {
        let mut next = Some(id);
        while let Some(at) = next {
            if let Some(node) = self.node_mut(at) {
                node.rate.taken(now, bytes, 1);
            }
            next = self.ledger.parent(at);
        }
    }

    fn serve(&mut self, at: NodeId, now: u64, wakes: &mut Wakes) {
        if self.shares {
            self.ledger.forget_wants(at, now);
        }
        while self.stand(at).is_some_and(|stand| !stand.sides.is_empty()) {
            match self.choose(at) {
                Choice::Nobody => return,
                Choice::Move(line) => {
                    if let Some(stand) = self.stand_mut(at) {
                        stand.blocked.take_if(|blocked| blocked.id == line);
                    }
                    self.station(line, Some(at), now, wakes);
                }
                Choice::Serve(seat) => {
                    self.take_out(&seat);
                    match self.ledger.charge(seat.id, seat.need, seat.urgency) {
                        Ok(()) => self.grant(&seat, now, wakes),
                        // It fitted a moment ago, under the same lock; whatever happened, it is told.
                        Err(short) => seat.refuse(self.full(seat.need, Stop::Short(short)), wakes),
                    }
                    self.station(seat.id, Some(at), now, wakes);
                }
            }
        }
    }

    fn grant(&mut self, seat: &Arc<Seat>, now: u64, wakes: &mut Wakes) {
        self.count_passes(seat.id, seat.urgency, Some(seat.number));
        let first = self.ledger.direct(seat.id) == seat.need;
        if let Some(node) = self.node_mut(seat.id).filter(|_| first) {
            node.since = now;
        }
        if seat.grant(wakes) {
            self.unclaimed.add(seat, now);
        } else {
            // It left without the desk hearing of it, which `leave` rules out; its bytes must not.
            self.ledger.give(seat.id, seat.need);
        }
    }

    /// Who is next at `at`? Notes who only lacks room.
    fn choose(&mut self, at: NodeId) -> Choice {
        let blocked = match self.reconsider(at) {
            Ok(blocked) => blocked,
            Err(choice) => return choice,
        };
        let closed = blocked.filter(|blocked| blocked.passes >= MAX_PASSES);
        let (mut best, mut oldest): (Option<(_, Arc<Seat>)>, Option<Blocked>) = (None, None);
        let Some(stand) = self.stand(at) else { return Choice::Nobody };
        for side in stand.sides.iter().take(LOOK.0) {
            let own = [at];
            let lines = self.stand(*side).filter(|_| *side != at).map(|stand| stand.lines.iter());
            let lines = lines.into_iter().flatten().chain(own.iter().filter(|_| *side == at));
            for line in lines.take(LOOK.1) {
                match self.look(at, *line, closed, &mut oldest) {
                    Look::Move => return Choice::Move(*line),
                    Look::Nothing => {}
                    Look::Fits(seat) => {
                        let held = if *side == at {
                            self.ledger.direct(at)
                        } else {
                            self.ledger.held_per_share(*side)
                        };
                        let rank = (std::cmp::Reverse(seat.urgency), held);
                        if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                            best = Some((rank, seat));
                        }
                        break;
                    }
                }
            }
        }
        // Whoever was found first to lack only room stays the one, unless something more urgent does.
        let kept =
            blocked.filter(|kept| oldest.is_none_or(|oldest| oldest.urgency <= kept.urgency)).or(oldest);
        if let Some(stand) = self.stand_mut(at) {
            stand.blocked = kept;
        }
        best.map_or(Choice::Nobody, |(_, seat)| Choice::Serve(seat))
    }

    /// Does the one that only lacked room still, and nothing else?
    fn reconsider(&self, at: NodeId) -> Result<Option<Blocked>, Choice> {
        let Some((stand, blocked)) = self.stand(at).and_then(|stand| Some((stand, stand.blocked?))) else {
            return Ok(None);
        };
        let waiting = self.stand(blocked.id).filter(|line| line.listed_at == Some(at));
        let seat =
            waiting.and_then(|line| line.line.iter().find(|entry| entry.value.number == blocked.number));
        let Some(seat) = seat.map(|entry| &entry.value) else { return Ok(None) };
        match self.fits_seat(seat) {
            Err(stop) if stop.at() == at && stop.is(Cause::Room) => Ok(Some(blocked)),
            Ok(()) if blocked.passes >= MAX_PASSES => Err(Choice::Serve(Arc::clone(seat))),
            Ok(()) => Ok(stand.blocked),
            Err(_) => Ok(None),
        }
    }

    /// The first ask in a line that fits; notes in `oldest` whom it goes past.
    fn look(&self, at: NodeId, line: NodeId, closed: Option<Blocked>, oldest: &mut Option<Blocked>) -> Look {
        let Some(stand) = self.stand(line) else { return Look::Nothing };
        for (position, entry) in stand.line.iter().take(LOOK.2).enumerate() {
            let seat = &entry.value;
            if closed.is_some_and(|closed| closed.urgency >= seat.urgency && closed.number != seat.number) {
                return Look::Nothing;
            }
            let stop = match self.fits_seat(seat) {
                Ok(()) => return Look::Fits(Arc::clone(seat)),
                Err(stop) => stop,
            };
            if position > 0 {
                continue;
            }
            if stop.is(Cause::Never) || stop.at() != at {
                return Look::Move;
            }
            if !stop.is(Cause::Room) {
                return Look::Nothing;
            }
            let rank = |urgency, number| (urgency, std::cmp::Reverse(number));
            if oldest.is_none_or(|other| rank(seat.urgency, seat.number) > rank(other.urgency, other.number))
            {
                let Seat { number, id, urgency, .. } = **seat;
                *oldest = Some(Blocked { number, id, urgency, passes: 0 });
            }
        }
        Look::Nothing
    }
}

enum Look {
    Fits(Arc<Seat>),
    Move,
    Nothing,
}
