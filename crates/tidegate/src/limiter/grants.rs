//! Grants that nobody has claimed yet, and the seats of those who did, for the next callers.

use std::sync::Arc;

use super::seat::Seat;

/// How long a grant may stay unclaimed while others wait: long against any scheduling delay, short against a
/// ticket that somebody keeps in a drawer.
const LEASE: u64 = 1_000_000_000;
/// Seats that are kept for newcomers: enough for those who are granted and claim at about the same time.
const SEATS_KEPT: usize = 64;

/// Seats that were granted. As many as there are units and callers, and twice those.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Those with a grant that may be unclaimed, in no order.
    given: Vec<Arc<Seat>>,
    /// As many were unclaimed when they were last looked through.
    unclaimed: usize,
    /// Those whose callers have left.
    free: Vec<Arc<Seat>>,
}

impl Grants {
    /// A seat for a newcomer.
    #[inline]
    pub(super) fn seat(&mut self) -> Arc<Seat> {
        self.free.pop().unwrap_or_else(|| Arc::new(Seat::new()))
    }

    /// A grant was left on `seat`.
    #[inline]
    pub(super) fn remember(&mut self, seat: Arc<Seat>) {
        self.given.push(seat);
        if self.given.len() > 2 * self.unclaimed + 16 {
            self.forget_claimed();
        }
    }

    /// The seats of those who claimed are there for the next callers.
    #[inline(never)]
    pub(super) fn forget_claimed(&mut self) {
        let mut at = 0;
        while let Some(seat) = self.given.get(at) {
            if seat.is_unclaimed() {
                at += 1;
                continue;
            }
            let seat = self.given.swap_remove(at);
            if self.free.len() < SEATS_KEPT {
                if let Some(seat) = seat.again() {
                    self.free.push(seat);
                }
            }
        }
        self.unclaimed = self.given.len();
    }

    /// Those that were granted long ago, and were not claimed when last looked through.
    pub(super) fn overdue(&self, now: u64) -> Vec<Arc<Seat>> {
        let is_overdue = |seat: &&Arc<Seat>| seat.given().0.saturating_add(LEASE) <= now;
        self.given.iter().filter(is_overdue).map(Arc::clone).collect()
    }
}
