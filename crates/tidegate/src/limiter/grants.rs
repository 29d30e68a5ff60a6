//! Answers that nobody has taken yet, and the seats of those who did, for the next callers.

use std::collections::VecDeque;

use crate::overdue::Looks;

use super::seat::Seat;
use super::seats::Seats;

/// Who sits where. Of every seat that was made, the number is in one of the two lists, or somebody waits on it.
#[derive(Debug, Default)]
#[repr(C)] // what every event writes stands first
pub(super) struct Grants {
    /// Seats with an answer that may not have been taken, the oldest first.
    answered: VecDeque<u32>,
    /// As many were not when they were last looked through.
    untaken: usize,
    /// Seats that nobody sits on.
    free: Vec<u32>,
    /// Seats that were ever taken.
    made: u32,
    looks: Looks,
}

impl Grants {
    /// So many bytes, the first, are written by every event.
    #[cfg(test)]
    #[cfg(not(tidegate_loom))]
    pub(super) const WRITTEN: usize = std::mem::offset_of!(Self, untaken);

    /// A seat for a newcomer. `None` if there are no numbers any more.
    #[inline(always)]
    pub(super) fn seat(&mut self, seats: &Seats) -> Option<u32> {
        // Whoever got the oldest answer has taken it, as a rule.
        if let Some(&number) = self.answered.front() {
            let seat = seats.get(number)?;
            if seat.has_left() {
                self.answered.pop_front();
                seat.open();
                return Some(number);
            }
        }
        let number = self.free.pop().or_else(|| self.next(seats))?;
        seats.get(number)?.open();
        Some(number)
    }

    #[cold]
    fn next(&mut self, seats: &Seats) -> Option<u32> {
        if self.answered.len() > 2 * self.untaken + 16 {
            self.forget_taken(seats);
        }
        self.free.pop().or_else(|| {
            let number = self.made;
            self.made = number.checked_add(1)?;
            seats.make(number);
            Some(number)
        })
    }

    /// An answer was left on the seat of this number.
    #[inline]
    pub(super) fn remember(&mut self, number: u32) {
        self.answered.push_back(number);
    }

    /// Whoever waited on the seat of this number has gone without an answer.
    pub(super) fn vacate(&mut self, number: u32) {
        self.free.push(number);
    }

    /// The seats of those who took their answer are there for the next callers.
    pub(super) fn forget_taken(&mut self, seats: &Seats) {
        let free = &mut self.free;
        self.answered.retain(|&number| {
            let left = seats.get(number).is_some_and(Seat::has_left);
            if left {
                free.push(number);
            }
            !left
        });
        self.untaken = self.answered.len();
    }

    /// Those that were granted long ago, and were not claimed when last looked through.
    pub(super) fn overdue(&mut self, now: u64, seats: &Seats) -> Vec<u32> {
        let look = self.looks.look(now);
        let is_overdue = |seat: &Seat| seat.is_unclaimed() && look.is_overdue(seat.given().0);
        self.answered.iter().copied().filter(|&number| seats.get(number).is_some_and(is_overdue)).collect()
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    use tidegate_control::queue::Criticality;

    use crate::overdue::{GRACE, LEASE};

    use super::super::seat::Grant;
    use super::*;

    fn granted(grants: &mut Grants, seats: &Seats, at: u64) -> u32 {
        let number = grants.seat(seats).unwrap();
        let grant = Grant { at, exact: true, holder: None };
        assert!(seats.get(number).unwrap().grant(grant, 1, Criticality::Critical));
        grants.remember(number);
        number
    }

    #[test]
    fn seats_are_used_again_also_behind_one_that_nobody_comes_for() {
        let (mut grants, seats) = (Grants::default(), Seats::new());
        let in_a_drawer: Vec<u32> = (0..5).map(|at| granted(&mut grants, &seats, at)).collect();
        for round in 0..10_000 {
            let number = granted(&mut grants, &seats, LEASE + round);
            assert!(!in_a_drawer.contains(&number), "somebody sits there");
            assert!(seats.get(number).unwrap().take_grant().is_some());
            let gone = grants.seat(&seats).unwrap();
            assert!(!in_a_drawer.contains(&gone));
            grants.vacate(gone);
        }
        assert!(grants.made < 64, "{} seats for seven", grants.made);
        assert!(grants.overdue(LEASE + 4, &seats).is_empty(), "nobody looked while they were due");
        assert!(grants.overdue(LEASE + GRACE, &seats).is_empty(), "hardly anybody has run meanwhile");
        assert_eq!(grants.overdue(LEASE + GRACE + 4, &seats), in_a_drawer);
    }
}
