//! Where waiting senders find their answer. A seat is given back and used again, so that waiting needs no allocation.

use std::task::Waker;

use tidegate_control::queue::Place;

use crate::overdue::Look;

use super::ledger::Need;

#[derive(Debug)]
pub(super) enum Seat {
    /// Nobody's; the next free one.
    Free(Option<u32>),
    /// In the line.
    Waiting { place: Place, need: Need, waker: Option<Waker> },
    /// The credit is charged, since then, and not fetched yet.
    Granted { need: Need, since: u64 },
    /// It was not fetched for so long that it passed on.
    Lapsed,
    /// The credit was fetched; the sender waits for the budget's.
    Owing(Option<Waker>),
}

/// All seats: as many as wait or were granted and have not fetched it, at most.
#[derive(Debug, Default)]
pub(super) struct Seats {
    list: Vec<Seat>,
    free: Option<u32>,
}

impl Seats {
    /// The seat that the next [`take`](Self::take) will give.
    pub(super) fn next(&self) -> u32 {
        // Both bounds of a channel keep this far below u32::MAX; there the line itself is full.
        self.free.unwrap_or_else(|| u32::try_from(self.list.len()).unwrap_or(u32::MAX))
    }

    /// Seats somebody.
    pub(super) fn take(&mut self, taken: Seat) -> u32 {
        let at = self.next();
        match self.list.get_mut(at as usize) {
            Some(seat) => {
                if let Seat::Free(next) = std::mem::replace(seat, taken) {
                    self.free = next;
                }
            }
            None => self.list.push(taken),
        }
        at
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Seat> {
        self.list.get_mut(at as usize)
    }

    /// What was on the seat, and is not any more.
    pub(super) fn replace(&mut self, at: u32, with: Seat) -> Option<Seat> {
        self.list.get_mut(at as usize).map(|seat| std::mem::replace(seat, with))
    }

    /// Whoever sat there is gone; what was on the seat.
    pub(super) fn give_back(&mut self, at: u32) -> Option<Seat> {
        let seat = self.list.get_mut(at as usize)?;
        if matches!(seat, Seat::Free(_)) {
            return None;
        }
        let was = std::mem::replace(seat, Seat::Free(self.free));
        self.free = Some(at);
        Some(was)
    }

    /// Takes back what this look finds overdue, and hands it to `each`.
    pub(super) fn lapse(&mut self, look: Look, mut each: impl FnMut(Need, u64)) {
        for seat in &mut self.list {
            if let Seat::Granted { need, since } = seat {
                if look.is_overdue(*since) {
                    each(*need, *since);
                    *seat = Seat::Lapsed;
                }
            }
        }
    }

    /// The wakers of everybody that waits.
    pub(super) fn wakers(&mut self) -> impl Iterator<Item = &mut Option<Waker>> {
        self.list.iter_mut().filter_map(|seat| match seat {
            Seat::Waiting { waker, .. } | Seat::Owing(waker) => Some(waker),
            Seat::Granted { .. } | Seat::Lapsed | Seat::Free(_) => None,
        })
    }
}
