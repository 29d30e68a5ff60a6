//! What was granted and not fetched: it passes on when others wait.
//!
//! When is [the rule](crate::overdue) of all that is granted; whoever comes later lines up anew. It is looked whenever anything
//! happens to the tree while somebody waits, and by those whose wait is bounded: every second, and when it would tell more.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_control::credit::NodeId;

use crate::overdue::{Look, Looks};

use super::desk::Desk;
use super::seat::Seat;

/// How often who waits beside others with shares, or with a bound, looks again: nobody tells it when one of them does not ask
/// any more, or does not come for what it was granted.
const LOOK_AGAIN: u64 = 1_000_000_000;

/// Grants that may be unclaimed, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    all: VecDeque<(u64, Arc<Seat>)>,
    /// As many were when they were last looked through.
    were: usize,
    looks: Looks,
}

impl Unclaimed {
    /// One was granted now.
    pub(super) fn add(&mut self, seat: &Arc<Seat>, now: u64) {
        // Whoever got the oldest has taken it, as a rule.
        while self.all.front().is_some_and(|(_, seat)| !seat.is_unclaimed()) {
            self.all.pop_front();
        }
        if self.all.len() > 2 * self.were + 16 {
            self.all.retain(|(_, seat)| seat.is_unclaimed());
            self.were = self.all.len();
        }
        self.all.push_back((now, Arc::clone(seat)));
    }

    /// When a look would tell more of the oldest of them.
    fn next_look(&mut self) -> Option<u64> {
        while self.all.front().is_some_and(|(_, seat)| !seat.is_unclaimed()) {
            self.all.pop_front();
        }
        self.all.front().map(|(at, _)| self.looks.next_for(*at))
    }

    /// Takes one back that this look finds overdue.
    fn lapse(&mut self, look: Look) -> Option<Arc<Seat>> {
        loop {
            let (at, _) = self.all.front()?;
            if !look.is_overdue(*at) {
                return None;
            }
            let (_, seat) = self.all.pop_front()?;
            if seat.lapse() {
                return Some(seat);
            }
        }
    }
}

impl Desk {
    /// When who waits should look again if nothing happens until then: after [`LOOK_AGAIN`], or when what nobody came for
    /// may pass on.
    pub(super) fn next_look(&mut self, now: u64) -> u64 {
        let regular = now.saturating_add(LOOK_AGAIN);
        self.unclaimed.next_look().map_or(regular, |next| regular.min(next))
    }

    /// Takes back what was granted long ago and nobody came for, if somebody waits; where that was. To be
    /// [served](Self::serve_up) there.
    pub(super) fn take_back_unclaimed(&mut self, now: u64) -> Vec<NodeId> {
        let look = self.unclaimed.looks.look(now);
        let mut freed = Vec::new();
        while self.waiting > 0 {
            let Some(seat) = self.unclaimed.lapse(look) else { break };
            self.ledger.give(seat.id, seat.need);
            freed.push(seat.id);
        }
        freed
    }
}
