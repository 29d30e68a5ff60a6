//! When a grant that nobody came for passes on: the one rule of limiters, budgets and channels.
//!
//! A future or ticket may be kept and not polled, in a drawer, or by a task that awaits something else; what it was granted must
//! not lie there while others wait. But a program that was stopped for a while (SIGSTOP, a machine that stood still) has
//! passed nobody by: when it runs again, the clock has gone on and the tasks have not. So time alone ends no grant; it is
//! due after a second, and passes on at a look that another went before when it was due already, or nearly so.

/// How long a grant may stay unclaimed while others wait: long against any scheduling delay, short against one
/// that somebody keeps in a drawer.
pub(crate) const LEASE: u64 = 1_000_000_000;
/// At the end of it somebody has looked twice, so far apart at least. What can run at all runs in between.
pub(crate) const GRACE: u64 = 100_000_000;

/// When unclaimed grants were looked for, [`GRACE`] apart at least: the last time, and the time before.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: u64,
    before: u64,
}

impl Looks {
    /// Would a look now tell more than the last one did?
    #[cfg(feature = "stream")]
    #[inline]
    pub(crate) fn are_due(&self, now: u64) -> bool {
        now.saturating_sub(self.last) >= GRACE
    }

    /// When a look would tell more of what was granted then and stays unclaimed: the first of two that tell that it is
    /// overdue, or the second.
    #[cfg(feature = "stream")]
    pub(crate) fn next_for(&self, granted: u64) -> u64 {
        let due = granted.saturating_add(LEASE);
        // What comes sooner after the last than that is one look with it.
        let other = self.last.saturating_add(GRACE);
        if self.last < due - GRACE { other.max(due - GRACE) } else { other.max(due) }
    }

    /// It is looked now.
    pub(crate) fn look(&mut self, now: u64) -> Look {
        if now.saturating_sub(self.last) >= GRACE {
            (self.before, self.last) = (self.last, now);
        }
        Look { now, earlier: self.before }
    }
}

/// A look for unclaimed grants, and one before it, [`GRACE`] ago or more; between looks closer than that the earlier one of
/// both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    now: u64,
    earlier: u64,
}

impl Look {
    /// Does what was granted then, and is unclaimed, pass on?
    pub(crate) fn is_overdue(self, granted: u64) -> bool {
        let due = granted.saturating_add(LEASE);
        due <= self.now && due - GRACE <= self.earlier
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_grant_ends_in_time_where_time_is_seen_to_go_by() {
        for every in [1, 7, 10, 50, 100] {
            let mut looks = Looks::default();
            let ended = (0..).map(|tick| tick * every * MS).find(|&now| looks.look(now).is_overdue(7));
            let ended = ended.unwrap();
            assert!((LEASE + 7..=LEASE + GRACE + every * MS + 7).contains(&ended), "{ended}");
        }
    }

    #[test]
    #[cfg(feature = "stream")]
    fn who_looks_when_it_tells_more_needs_no_other_looks() {
        for (granted, before) in
            [(0, 0), (700, 0), (700, 650), (700, 1590), (700, 1599), (700, 1600), (700, 2500)]
        {
            let (mut looks, granted) = (Looks::default(), granted * MS);
            looks.look(before * MS);
            let begun = granted.max(before * MS);
            let mut at = begun;
            let mut count = 0;
            while !looks.look(at).is_overdue(granted) {
                let next = looks.next_for(granted);
                assert!(next > at, "{granted} {before}: {next} after {at}");
                (at, count) = (next, count + 1);
            }
            let most = (granted + LEASE + GRACE).max(begun + 2 * GRACE);
            assert!((granted + LEASE..=most).contains(&at) && count <= 3, "{granted} {before}: {at}");
        }
    }

    #[test]
    fn however_long_the_clock_jumped_there_is_a_while_to_come() {
        for (granted, jump) in [(0, 1000), (0, 1500), (3, 60_000), (850, 950), (89, 3_600_000)] {
            let mut looks = Looks::default();
            for now in (0..=granted).step_by(10) {
                looks.look(now * MS);
            }
            let back = granted + jump;
            for now in back..back + 100 {
                assert!(!looks.look(now * MS).is_overdue(granted * MS), "{granted} {jump} {now}");
            }
            assert!(looks.look((back + 100) * MS).is_overdue(granted * MS));
        }
    }

    /// Looks close together count as one.
    #[test]
    fn a_crowd_of_looks_is_one() {
        let mut looks = Looks::default();
        for step in 0..1000 {
            assert!(!looks.look(1500 * MS + step).is_overdue(1));
        }
        assert!(looks.look(1600 * MS).is_overdue(1));
    }
}
