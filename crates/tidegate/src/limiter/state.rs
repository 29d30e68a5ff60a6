//! The word that callers race for: free units and two flags in one atomic, so that admission with nobody
//! waiting is one compare-and-swap.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::sync::AtomicU64;

/// Somebody waits (or the limiter drains): newcomers must not take free units past the queue.
const WAITING: u64 = 1;
/// Every change goes through the desk: the limiter measures, lists its holders or is being watched.
const DESK: u64 = 2;
const FLAGS: u64 = WAITING | DESK;
const SHIFT: u32 = 2;

/// The largest limit: the word keeps the free units in 62 signed bits, and the debt after a shrink needs as
/// much room below zero as the limit above it.
pub(super) const MAX_LIMIT: u64 = (1 << 60) - 1;

/// Free units (negative while there is debt after a shrink) and the flags.
///
/// With `WAITING` set, only the holder of the desk's lock takes units; anybody may give. So units that are freed
/// while somebody waits stay for the queue: there is no barging. Because both flags live in the word that is
/// swapped, a caller either sees a flag or has its unit before the flag was set.
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
}

/// One reading of the word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading(u64);

impl Reading {
    /// Free units; negative: debt.
    #[inline]
    pub(super) const fn free(self) -> i64 {
        (self.0 as i64) >> SHIFT
    }

    /// Must newcomers stand back?
    #[inline]
    pub(super) const fn waiting(self) -> bool {
        self.0 & WAITING != 0
    }

    /// Does this change concern the desk?
    #[inline]
    pub(super) const fn concerns_desk(self) -> bool {
        self.0 & FLAGS != 0
    }
}

impl Gate {
    /// A gate with `limit` free units.
    pub(super) fn new(limit: u64) -> Self {
        Self { word: AtomicU64::new(limit.min(MAX_LIMIT) << SHIFT) }
    }

    #[inline]
    pub(super) fn read(&self) -> Reading {
        Reading(self.word.load(Acquire))
    }

    /// Takes `weight` units if they are free and the desk is not concerned. Returns the units left.
    #[inline]
    pub(super) fn take_if_open(&self, weight: u64) -> Option<i64> {
        if weight > MAX_LIMIT {
            return None;
        }
        let mut word = self.word.load(Relaxed);
        loop {
            let reading = Reading(word);
            if reading.concerns_desk() || reading.free() < weight as i64 {
                return None;
            }
            match self.word.compare_exchange_weak(word, word - (weight << SHIFT), AcqRel, Relaxed) {
                Ok(_) => return Some(reading.free() - weight as i64),
                Err(now) => word = now,
            }
        }
    }

    /// Takes `weight` units at the desk if they are free, or if all of `limit` is (a demand heavier than the
    /// limit goes alone). The desk's lock is held, but without the flags others may be taking too.
    pub(super) fn take_at_desk(&self, weight: u64, limit: u64) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            let free = Reading(word).free();
            if !fits(free, weight, limit) {
                return false;
            }
            let next = word.wrapping_sub(weight.min(MAX_LIMIT) << SHIFT);
            match self.word.compare_exchange_weak(word, next, AcqRel, Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Takes `weight` units whether free or not.
    pub(super) fn take_anyway(&self, weight: u64) {
        self.word.fetch_sub(weight.min(MAX_LIMIT) << SHIFT, AcqRel);
    }

    /// Gives `weight` units back. Returns the word as it was before.
    #[inline]
    pub(super) fn give(&self, weight: u64) -> Reading {
        Reading(self.word.fetch_add(weight.min(MAX_LIMIT) << SHIFT, AcqRel))
    }

    /// Moves the limit from `old` to `new`: the units appear or vanish at once, as debt if they are held.
    pub(super) fn resize(&self, old: u64, new: u64) {
        self.word.fetch_add(new.wrapping_sub(old) << SHIFT, AcqRel);
    }

    /// Sets or clears the flag that keeps newcomers behind the queue. The desk's lock must be held.
    pub(super) fn set_waiting(&self, yes: bool) {
        self.set(WAITING, yes);
    }

    /// Sets or clears the flag that sends every change past the desk. The desk's lock must be held.
    pub(super) fn set_desk(&self, yes: bool) {
        self.set(DESK, yes);
    }

    fn set(&self, flag: u64, yes: bool) {
        if yes {
            self.word.fetch_or(flag, AcqRel);
        } else {
            self.word.fetch_and(!flag, AcqRel);
        }
    }
}

/// Do `weight` units fit into `free` of `limit`? A demand heavier than the limit fits when nothing is held; into
/// a limit of zero fits nothing.
pub(super) const fn fits(free: i64, weight: u64, limit: u64) -> bool {
    if free >= 0 && free as u64 >= weight {
        return true;
    }
    limit > 0 && weight > limit && free >= limit as i64
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    use super::*;

    #[test]
    fn debt_is_paid_before_anything_is_free() {
        let gate = Gate::new(10);
        assert_eq!(gate.take_if_open(8), Some(2));
        gate.resize(10, 4);
        assert_eq!(gate.read().free(), -4);
        assert_eq!(gate.take_if_open(1), None);
        gate.give(4);
        assert_eq!(gate.read().free(), 0);
        gate.give(4);
        assert_eq!(gate.read().free(), 4);
    }

    #[test]
    fn flags_keep_newcomers_out_and_units_exact() {
        let gate = Gate::new(2);
        gate.set_waiting(true);
        assert_eq!(gate.take_if_open(1), None);
        assert!(gate.take_at_desk(1, 2));
        gate.set_waiting(false);
        assert_eq!(gate.take_if_open(1), Some(0));
        gate.set_desk(true);
        assert!(gate.give(1).concerns_desk());
        assert_eq!(gate.read().free(), 1);
    }

    #[test]
    fn a_demand_heavier_than_the_limit_goes_alone() {
        let gate = Gate::new(4);
        assert!(!fits(3, 5, 4));
        assert!(gate.take_at_desk(5, 4));
        assert_eq!(gate.read().free(), -1);
        assert!(!gate.take_at_desk(1, 4));
        gate.give(5);
        assert_eq!(gate.read().free(), 4);
    }

    #[test]
    fn the_largest_limit_keeps_its_sign() {
        let gate = Gate::new(u64::MAX);
        assert_eq!(gate.read().free(), MAX_LIMIT as i64);
        gate.resize(MAX_LIMIT, 0);
        assert_eq!(gate.read().free(), 0);
        gate.take_anyway(u64::MAX);
        assert_eq!(gate.read().free(), -(MAX_LIMIT as i64));
    }
}
