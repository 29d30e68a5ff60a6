//! One waiting caller's seat: where the limiter leaves its answer.
//!
//! Lock order: the desk before a seat. Wakers run after both are unlocked.

use std::sync::OnceLock;
use std::task::{Poll, Waker};

use tidegate_control::queue::{Criticality, Place};
use tidegate_control::wait::Prediction;

use crate::refused::Refused;
use crate::sync::{Mutex, lock};
use crate::wakes::Wakes;

use super::occupants::Who;
use super::outlook::Question;

/// Capacity handed over to a waiting caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// When.
    pub(super) at: u64,
    /// The holder's number in the register, if holders are tracked.
    pub(super) holder: Option<usize>,
}

/// The answer on a seat.
#[derive(Debug)]
enum Answer {
    /// In the queue; the waker of the caller, once it has been polled.
    Waiting(Option<Waker>),
    /// Capacity was handed over and has not been claimed.
    Granted(Grant),
    /// Refused while waiting.
    Refused(Refused),
    /// The caller has its answer, or has gone.
    Left,
}

/// A seat in the queue, shared by the queue and the ticket.
#[derive(Debug)]
pub(super) struct Seat {
    /// Units asked for.
    pub(super) weight: u64,
    pub(super) class: Criticality,
    pub(super) kind: u8,
    /// When the wait began.
    pub(super) since: u64,
    /// When the wait ends without an answer.
    pub(super) expires: u64,
    /// The wait that was predicted, to be compared with what happens.
    pub(super) predicted: Option<Prediction>,
    pub(super) who: Who,
    /// Its place in the queue, set when it has one.
    pub(super) place: OnceLock<Place>,
    answer: Mutex<Answer>,
}

/// What a leaving ticket left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Its place in the queue.
    Place,
    /// Capacity that was granted and not claimed.
    Grant(Grant),
    /// Nothing.
    Nothing,
}

impl Seat {
    pub(super) fn new(question: &Question, predicted: Option<Prediction>, who: Who) -> Self {
        Self {
            weight: question.weight,
            class: question.class,
            kind: question.kind,
            since: question.now,
            expires: question.deadline.min(question.now.saturating_add(question.max_wait)),
            predicted,
            who,
            place: OnceLock::new(),
            answer: Mutex::new(Answer::Waiting(None)),
        }
    }

    /// Hands capacity over. False if the caller no longer waits.
    pub(super) fn grant(&self, grant: Grant, wakes: &mut Wakes) -> bool {
        self.answer(Answer::Granted(grant), wakes)
    }

    /// Refuses the caller while it waits. False if it no longer waits.
    pub(super) fn refuse(&self, refused: Refused, wakes: &mut Wakes) -> bool {
        self.answer(Answer::Refused(refused), wakes)
    }

    fn answer(&self, given: Answer, wakes: &mut Wakes) -> bool {
        let mut answer = lock(&self.answer);
        let Answer::Waiting(waker) = &mut *answer else { return false };
        wakes.extend(waker.take());
        *answer = given;
        true
    }

    /// Takes an unclaimed grant back, leaving a refusal in its place; `None` if it was claimed meanwhile. Nobody
    /// is woken: the grant did that.
    pub(super) fn revoke(&self, refusal: impl FnOnce() -> Refused) -> Option<Grant> {
        let mut answer = lock(&self.answer);
        let Answer::Granted(grant) = *answer else { return None };
        *answer = Answer::Refused(refusal());
        Some(grant)
    }

    /// Is there a grant that nobody claimed?
    pub(super) fn is_unclaimed(&self) -> bool {
        matches!(*lock(&self.answer), Answer::Granted(_))
    }

    /// Takes the answer, or leaves `waker` to be woken when there is one. `Ready(None)`: it was taken before.
    pub(super) fn poll(&self, waker: Option<&Waker>) -> Poll<Option<Result<Grant, Refused>>> {
        let mut answer = lock(&self.answer);
        if let Answer::Waiting(parked) = &mut *answer {
            let news = waker.filter(|waker| !parked.as_ref().is_some_and(|parked| parked.will_wake(waker)));
            let old = news.and_then(|waker| parked.replace(waker.clone()));
            // A waker's drop may run foreign code: not under the lock.
            drop(answer);
            drop(old);
            return Poll::Pending;
        }
        match std::mem::replace(&mut *answer, Answer::Left) {
            Answer::Granted(grant) => Poll::Ready(Some(Ok(grant))),
            Answer::Refused(refused) => Poll::Ready(Some(Err(refused))),
            Answer::Waiting(_) | Answer::Left => Poll::Ready(None),
        }
    }

    /// The caller goes. The desk's lock is held, so that a grant cannot slip in between. The waker is handed
    /// out to be dropped when it is not.
    pub(super) fn leave(&self) -> (Leaving, Option<Waker>) {
        match std::mem::replace(&mut *lock(&self.answer), Answer::Left) {
            Answer::Waiting(waker) => (Leaving::Place, waker),
            Answer::Granted(grant) => (Leaving::Grant(grant), None),
            Answer::Refused(_) | Answer::Left => (Leaving::Nothing, None),
        }
    }
}
