//! One waiting ask: where the tree leaves its answer.
//!
//! Lock order: the desk before a seat. Wakers run after both are unlocked.

use std::sync::OnceLock;
use std::task::{Poll, Waker};

use tidegate_control::credit::{NodeId, Urgency};
use tidegate_control::queue::Place;

use crate::sync::{Mutex, lock};
use crate::wakes::Wakes;

use super::full::Full;

#[derive(Debug)]
enum Answer {
    /// In the line; the waker of whoever waits, once it has been polled.
    Waiting(Option<Waker>),
    /// The bytes are charged and nobody has come for them.
    Granted,
    /// They were, for so long that they passed on.
    Lapsed,
    Refused(Full),
    /// Taken, or given up.
    Left,
}

/// A place in the line, shared by the line and the future.
#[derive(Debug)]
pub(super) struct Seat {
    /// Tells it from every other, and the earlier from the later.
    pub(super) number: u64,
    pub(super) id: NodeId,
    pub(super) need: u64,
    pub(super) urgency: Urgency,
    /// Set when it has one.
    pub(super) place: OnceLock<Place>,
    answer: Mutex<Answer>,
}

/// What whoever waited is told.
#[derive(Debug)]
pub(super) enum Told {
    Granted,
    /// It was granted and did not come for it: it has to line up anew.
    Lapsed,
    Refused(Full),
    /// It was told before.
    Nothing,
}

/// What an ask that was given up left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Its place in the line.
    Place,
    /// Bytes that were granted and not taken.
    Grant,
    Nothing,
}

impl Seat {
    pub(super) fn new(number: u64, id: NodeId, need: u64, urgency: Urgency) -> Self {
        let (place, answer) = (OnceLock::new(), Mutex::new(Answer::Waiting(None)));
        Self { number, id, need, urgency, place, answer }
    }

    /// The bytes are there. False if nobody waits for them any more.
    pub(super) fn grant(&self, wakes: &mut Wakes) -> bool {
        self.answer(Answer::Granted, wakes)
    }

    /// There will be none.
    pub(super) fn refuse(&self, full: Full, wakes: &mut Wakes) {
        self.answer(Answer::Refused(full), wakes);
    }

    fn answer(&self, given: Answer, wakes: &mut Wakes) -> bool {
        let mut answer = lock(&self.answer);
        let Answer::Waiting(waker) = &mut *answer else { return false };
        wakes.extend(waker.take());
        *answer = given;
        true
    }

    /// Is there a grant that nobody has come for?
    pub(super) fn is_unclaimed(&self) -> bool {
        matches!(*lock(&self.answer), Answer::Granted)
    }

    /// Takes a grant back that nobody has come for; false if there is none. Nobody is woken: the grant did that.
    pub(super) fn lapse(&self) -> bool {
        let mut answer = lock(&self.answer);
        let unclaimed = matches!(*answer, Answer::Granted);
        if unclaimed {
            *answer = Answer::Lapsed;
        }
        unclaimed
    }

    /// Takes the answer, or leaves `waker` to be woken when there is one.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Told> {
        let mut answer = lock(&self.answer);
        if let Answer::Waiting(parked) = &mut *answer {
            let known = parked.as_ref().is_some_and(|parked| parked.will_wake(waker));
            let old = if known { None } else { parked.replace(waker.clone()) };
            // A waker's drop may run foreign code: not under the lock.
            drop(answer);
            drop(old);
            return Poll::Pending;
        }
        Poll::Ready(match std::mem::replace(&mut *answer, Answer::Left) {
            Answer::Granted => Told::Granted,
            Answer::Lapsed => Told::Lapsed,
            Answer::Refused(full) => Told::Refused(full),
            Answer::Waiting(_) | Answer::Left => Told::Nothing,
        })
    }

    /// It is given up. The desk's lock is held, so that a grant cannot slip in between. The waker is handed out to be
    /// dropped when it is not.
    pub(super) fn leave(&self) -> (Leaving, Option<Waker>) {
        match std::mem::replace(&mut *lock(&self.answer), Answer::Left) {
            Answer::Waiting(waker) => (Leaving::Place, waker),
            Answer::Granted => (Leaving::Grant, None),
            Answer::Lapsed | Answer::Refused(_) | Answer::Left => (Leaving::Nothing, None),
        }
    }
}
