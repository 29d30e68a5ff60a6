//! All the seats of a limiter, at addresses that stay: a ticket finds its own by number, without a lock and without a
//! count of references.
//!
//! Seats stand in rows, each twice as long as the one before. A row is made when the ones before are taken, and stays: so
//! there are at most twice as many seats as were ever taken at once.

use std::sync::OnceLock;

use super::seat::Seat;

/// Seats in the first row. Few under loom, which watches each.
const FIRST: u64 = if cfg!(tidegate_loom) { 4 } else { 64 };
/// Enough for every number.
const ROWS: usize = (u32::BITS - FIRST.ilog2() + 1) as usize;

/// The seats.
#[derive(Debug)]
pub(super) struct Seats {
    rows: [OnceLock<Box<[Seat]>>; ROWS],
}

impl Seats {
    pub(super) fn new() -> Self {
        Self { rows: [const { OnceLock::new() }; ROWS] }
    }

    /// The seat with this number, if it was made.
    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<&Seat> {
        let (row, at) = position(number);
        self.rows.get(row)?.get()?.get(at)
    }

    /// Sees to it that there is a seat with this number.
    #[cold]
    pub(super) fn make(&self, number: u32) {
        let (row, _) = position(number);
        if let Some(seats) = self.rows.get(row) {
            seats.get_or_init(|| (0..FIRST << row).map(|_| Seat::new()).collect());
        }
    }
}

/// The row, and the place in it.
#[inline(always)]
fn position(number: u32) -> (usize, usize) {
    let from_start = u64::from(number) + FIRST;
    let row = from_start.ilog2() - FIRST.ilog2();
    (row as usize, (from_start - (FIRST << row)) as usize)
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_seat_of_its_own() {
        let seats = Seats::new();
        let mut known = Vec::new();
        for number in 0..1000 {
            if seats.get(number).is_none() {
                seats.make(number);
            }
            known.push(std::ptr::from_ref(seats.get(number).unwrap()));
        }
        assert!(
            (0..1000).all(|number| std::ptr::from_ref(seats.get(number).unwrap()) == known[number as usize])
        );
        known.sort();
        known.dedup();
        assert_eq!(known.len(), 1000);
        assert!(seats.get(u32::MAX).is_none());
        assert_eq!(position(u32::MAX), (ROWS - 1, FIRST as usize - 1));
    }
}
