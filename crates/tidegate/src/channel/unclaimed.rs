//! Credit that was granted and not fetched: it passes on when others wait.
//!
//! When is [the rule](crate::overdue) of all that is granted; whoever comes later lines up anew. It is looked when credit is given
//! back, and when somebody lines up.

use crate::overdue::Looks;

use super::ledger::Ledger;

/// How much is granted and not fetched, and when it was looked for.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    seats: usize,
    looks: Looks,
}

impl Unclaimed {
    #[inline]
    pub(super) fn granted(&mut self) {
        self.seats += 1;
    }

    /// One was fetched, or given up.
    #[inline]
    pub(super) fn fetched(&mut self) {
        self.seats = self.seats.saturating_sub(1);
    }
}

impl Ledger {
    /// Takes credit back that nobody came for. Somebody waits, and is to be granted it.
    #[inline]
    pub(super) fn take_back_unclaimed(&mut self) {
        if self.unclaimed.seats > 0 && self.unclaimed.looks.are_due(self.pace.about(&self.clock)) {
            self.look_for_unclaimed();
        }
    }

    #[cold]
    fn look_for_unclaimed(&mut self) {
        let now = self.pace.now(&self.clock);
        let Self { seats, charged, reserved, tags, unclaimed, .. } = self;
        let look = unclaimed.looks.look(now);
        seats.lapse(look, |need, since| {
            reserved.take(need.bytes, 1);
            charged.take(need.bytes, 1);
            tags.release(need.tag, need.bytes, 1, since);
            unclaimed.fetched();
        });
    }
}
