//! Credit that was granted and not fetched: it passes on when others wait.
//!
//! A future may be kept and not polled, in a drawer, or by a task that awaits something else: what it was granted would lie
//! there, and in the worst case be what the task itself waits for. So a grant that is there at two looks a second apart is
//! taken back, and whoever comes later lines up anew. It is looked when credit is given back, and when somebody lines up.

use super::ledger::Ledger;

/// How long credit may stay unfetched while others wait: long against any scheduling delay (the limiter's is the same).
const LEASE: u64 = 1_000_000_000;

/// How much is granted and not fetched, and when to look for it again.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    seats: usize,
    look_at: u64,
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
    /// Takes credit back that nobody came for between two looks. Somebody waits, and is to be granted it.
    #[inline]
    pub(super) fn take_back_unclaimed(&mut self) {
        if self.unclaimed.seats > 0 && self.pace.about(&self.clock) >= self.unclaimed.look_at {
            self.look_for_unclaimed();
        }
    }

    #[cold]
    fn look_for_unclaimed(&mut self) {
        let now = self.pace.now(&self.clock);
        let Self { seats, charged, reserved, tags, unclaimed, .. } = self;
        seats.lapse(|need, since| {
            reserved.take(need.bytes, 1);
            charged.take(need.bytes, 1);
            tags.release(need.tag, need.bytes, 1, since);
            unclaimed.fetched();
        });
        unclaimed.look_at = now.saturating_add(LEASE);
    }
}
