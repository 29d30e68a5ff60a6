//! Asking at the desk: admitted, in the queue, or refused.

use std::sync::atomic::Ordering::Relaxed;

use tidegate_control::queue::Entry;
use tidegate_control::wait::Prediction;

use crate::clock::nanos;
use crate::demand::Demand;
use crate::readiness::{Readiness, WaitEstimate};
use crate::refused::{Reason, Refused};
use crate::sync::lock;
use crate::wakes::Wakes;

use super::desk::Desk;
use super::lane::Joined;
use super::outlook::Question;
use super::seat::{Grant, More, Waiter};
use super::shared::Shared;
use super::state::fits;

/// The part of a client's patience that a wait may take, in tenths: the rest is for the work itself.
const PATIENCE_TENTHS: u64 = 4;

/// What a caller gets that asked at the desk.
pub(super) enum Passage {
    /// Admitted.
    Admitted(Grant),
    /// In the queue.
    Waiting(Joined, Terms),
}

/// How a caller waits.
pub(super) struct Terms {
    /// The number of its ticket.
    pub(super) id: u64,
    /// When the wait ends without an answer.
    pub(super) expires: u64,
    /// It need not wait long.
    pub(super) short: bool,
}

/// Why a caller is refused, and the wait it would have had.
type Objection = (Reason, Option<WaitEstimate>);

impl Shared {
    /// Asks at the desk: admitted, in the queue, or refused.
    #[cold]
    #[inline(never)]
    pub(super) fn ask(&self, demand: &Demand) -> Result<Passage, Refused> {
        self.visit(|desk, wakes| {
            self.ask_for_first(desk, demand)?;
            desk.recall();
            desk.outlook.arrived(desk.now(), demand.weight);
            if self.has_room(desk, demand.weight) {
                return Ok(Passage::Admitted(self.admitted(desk, demand)));
            }
            let question = self.question(desk, demand);
            let answer = self.decide(desk, &question).and_then(|estimate| match estimate {
                Some(estimate) => self.line_up(desk, wakes, &question, demand, estimate),
                None => Ok(Passage::Admitted(self.admitted(desk, demand))),
            });
            self.settle(desk, &question, answer)
        })
    }

    /// Asks at the desk without wanting to wait.
    #[cold]
    #[inline(never)]
    pub(super) fn ask_at_once(&self, demand: &Demand) -> Result<Grant, Refused> {
        self.visit(|desk, _| {
            self.ask_for_first(desk, demand)?;
            desk.recall();
            desk.outlook.arrived(desk.now(), demand.weight);
            if self.has_room(desk, demand.weight) {
                return Ok(self.admitted(desk, demand));
            }
            let question = self.question(desk, demand);
            let answer = match self.decide(desk, &question) {
                Ok(None) => Ok(self.admitted(desk, demand)),
                Ok(Some(estimate)) => Err((Reason::QueueFull, Some(estimate))),
                Err((Reason::Draining, wait)) => Err((Reason::Draining, wait)),
                Err((_, wait)) => Err((Reason::QueueFull, wait)),
            };
            self.settle(desk, &question, answer)
        })
    }

    /// Answers all that wait.
    pub(super) fn refuse_waiting(&self, reason: Reason) {
        // What they left may run foreign code when it is dropped: not under the lock.
        let _entries = self.visit(|desk, wakes| {
            let mut entries = desk.queue.take_all(|_| true);
            for entry in &mut entries {
                let refused = desk.refusal(self, reason, entry.class, None);
                desk.refuse(self, entry, refused, wakes);
            }
            entries
        });
    }

    /// There is no room: may the caller wait, and how long will it? `Ok(None)`: its units were taken all the
    /// same, because nothing is enforced.
    fn decide(&self, desk: &mut Desk, question: &Question) -> Result<Option<WaitEstimate>, Objection> {
        if desk.draining {
            return Err((Reason::Draining, None));
        }
        let answer = match desk.outlook.ask(question) {
            _ if self.queue_capacity == 0 => Err((Reason::QueueFull, None)),
            Ok(estimate) => Ok(Some(estimate)),
            Err((reason, estimate)) => Err((reason, Some(estimate))),
        };
        if !self.dry_run {
            return answer;
        }
        let full = question.ahead.saturating_add(question.weight) > self.queue_capacity as u64;
        let reason = if full { Some(Reason::QueueFull) } else { answer.err().map(|(reason, _)| reason) };
        if let Some(reason) = reason {
            self.counts.refuse(reason);
            self.counts.would_refuse.fetch_add(1, Relaxed);
        }
        self.gate.take_anyway(question.weight);
        desk.pressure(self);
        Ok(None)
    }

    fn line_up(
        &self,
        desk: &mut Desk,
        wakes: &mut Wakes,
        question: &Question,
        demand: &Demand,
        estimate: WaitEstimate,
    ) -> Result<Passage, Objection> {
        // From here on releases come to the desk. What was released before is in the word already.
        self.gate.set_waiting(true);
        if self.has_room(desk, demand.weight) {
            return Ok(Passage::Admitted(self.admitted(desk, demand)));
        }
        let said = Prediction { p50: nanos(estimate.expected), p90: nanos(estimate.upper) };
        let short = self.is_short(desk, demand);
        self.set_brisk(short);
        let Some(seat) = desk.grants.seat(&self.seats) else {
            return Err((Reason::QueueFull, Some(estimate)));
        };
        let since = question.now;
        let expires = question.deadline.min(since.saturating_add(question.max_wait));
        let waiter = Waiter {
            seat,
            waker: None,
            leans: None,
            exact: true,
            expires,
            more: More::of((estimate.samples > 0).then_some(said), self.who(demand)),
        };
        let entry = Entry { value: waiter, class: question.class, weight: question.weight, since };
        match desk.line_up(self, entry, wakes) {
            Some((place, id)) => {
                Ok(Passage::Waiting(Joined { seat, place, since }, Terms { id, expires, short }))
            }
            None => {
                desk.grants.vacate(seat);
                Err((Reason::QueueFull, Some(estimate)))
            }
        }
    }

    /// Whoever could not be admitted at once is heard of by the algorithm, and gets a return slot if refused.
    fn settle<T>(
        &self,
        desk: &mut Desk,
        question: &Question,
        answer: Result<T, Objection>,
    ) -> Result<T, Refused> {
        if answer.is_err() || desk.line_stands() {
            desk.pressure(self);
        }
        answer.map_err(|(reason, wait)| desk.refusal(self, reason, question.class, wait))
    }

    /// Takes units at the desk, if they are free and nobody waits for them.
    fn has_room(&self, desk: &Desk, weight: u64) -> bool {
        !desk.draining && desk.queue.is_empty() && self.gate.take_at_desk(weight, self.limit())
    }

    /// Units were taken for `demand`.
    fn admitted(&self, desk: &mut Desk, demand: &Demand) -> Grant {
        let at = desk.now();
        self.counts.admit(demand.weight, self.in_flight());
        desk.outlook.dispatched(at, demand.weight);
        let holder =
            self.tracked.then(|| desk.register_holder(self.who(demand), demand.weight, demand.class));
        Grant { at, exact: true, holder }
    }

    fn question(&self, desk: &Desk, demand: &Demand) -> Question {
        // In dry run nobody waits; what is held beyond the limit is what would.
        let ahead = if self.dry_run {
            self.in_flight().saturating_sub(self.limit())
        } else {
            desk.queue.ahead_of(demand.class)
        };
        Question {
            now: desk.now(),
            class: demand.class,
            kind: demand.kind,
            weight: demand.weight,
            ahead,
            deadline: demand.deadline.map_or(u64::MAX, |at| self.clock.at(at)),
            max_wait: self.longest_wait(demand),
        }
    }

    fn longest_wait(&self, demand: &Demand) -> u64 {
        let own = demand.max_wait.map_or(u64::MAX, nanos);
        self.max_wait.min(own).min(part_of(demand.patience.map_or(self.patience, nanos)))
    }

    /// What would happen to `demand`. The ready case is one read of one word.
    #[inline]
    pub(super) fn readiness_for(&self, demand: &Demand) -> Readiness {
        let reading = self.gate.read();
        let free = reading.free();
        if !reading.waiting() && free >= 1 && (free as u64) >= demand.weight {
            return Readiness::Ready { available: free as u64 };
        }
        self.readiness_at_desk(demand)
    }

    #[cold]
    #[inline(never)]
    fn readiness_at_desk(&self, demand: &Demand) -> Readiness {
        let read = self.clock.now();
        let mut desk = lock(&self.desk);
        desk.enter(self, read);
        let question = self.question(&desk, demand);
        desk.readiness(self, &question)
    }
}

impl Desk {
    /// What a caller with this question would meet. Reserves nothing.
    pub(super) fn readiness(&mut self, shared: &Shared, question: &Question) -> Readiness {
        if self.draining {
            return Readiness::Draining { retry_after: None };
        }
        let free = shared.gate.read().free();
        if self.queue.is_empty() && fits(free, question.weight, shared.limit()) {
            return Readiness::Ready { available: u64::try_from(free).unwrap_or(0) };
        }
        self.recall();
        if self.queue.len() < shared.queue_capacity {
            if let Ok(wait) = self.outlook.ask(question) {
                return Readiness::Busy { ahead: question.ahead, wait };
            }
        }
        let wait = self.outlook.predict(question.ahead.saturating_add(question.weight));
        Readiness::Saturated { retry_after: (wait.samples > 0).then_some(wait.expected) }
    }

    /// Readiness without its figures, for watchers.
    pub(super) fn readiness_kind(&self, shared: &Shared) -> u8 {
        if self.draining {
            3
        } else if self.queue.is_empty() && shared.gate.read().free() > 0 {
            0
        } else if self.queue.len() < shared.queue_capacity {
            1
        } else {
            2
        }
    }
}

/// The part of a client's patience that a wait may take.
pub(super) const fn part_of(patience: u64) -> u64 {
    if patience == u64::MAX { u64::MAX } else { patience / 10 * PATIENCE_TENTHS }
}
