//! [`Worker`]: one task of a stage, and the papers of what it has in hand.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

use crate::channel::Weigh;

use super::engine::Engine;
use super::error::{Cause, PipelineError, TooLarge};
use super::hand_back::OnItsWay;
use super::ledger::{End, InHand};
use super::line::{Inlet, LEAST, Line, Parcel, Taken};
use super::room::{Asking, Charge, Turn};
use super::shares::Wait;

/// What an item is charged: what it keeps alive, and of itself what its place does not hold.
pub(super) fn charge_of<T: Weigh>(item: &T) -> u64 {
    let own = u64::try_from(size_of::<T>()).unwrap_or(u64::MAX).saturating_sub(LEAST);
    item.weight().saturating_add(own).max(LEAST)
}

/// What a stage's largest item is charged.
pub(super) fn largest(max_item: u64) -> u64 {
    max_item.max(LEAST)
}

/// Counts as a task of its pipeline until it is dropped.
pub(super) struct Member(Arc<Engine>);

impl Member {
    pub(super) fn new(engine: &Arc<Engine>) -> Self {
        engine.fate.join();
        Self(Arc::clone(engine))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.fate.leave(|| self.0.clear());
    }
}

/// One task of a stage.
pub(super) struct Worker {
    pub(super) engine: Arc<Engine>,
    pub(super) stage: usize,
    number: usize,
    ordered: bool,
    /// Nothing comes any more: it may end.
    finished: AtomicBool,
    /// Dropped last.
    _member: Member,
}

impl Worker {
    pub(super) fn new(engine: &Arc<Engine>, stage: usize, number: usize, ordered: bool) -> Self {
        engine.clock_of(stage, |clock, now| clock.begin(now));
        let (engine, member, finished) = (Arc::clone(engine), Member::new(engine), AtomicBool::new(false));
        Self { engine, stage, number, ordered, finished, _member: member }
    }

    /// The next item; `None` when nothing comes any more. Those that have expired are counted and dropped.
    pub(super) async fn take<T>(&self, line: &Line<T>) -> Option<(T, Papers)> {
        loop {
            let Some(taken) = line.take(&self.engine, self.stage, self.number).await else {
                self.finish();
                return None;
            };
            match taken {
                Taken::Parcel(Parcel { item, charge, deadline, born }, turn) => {
                    let turn = if self.ordered {
                        Some((turn, Turn::new(&self.engine, self.stage, turn)))
                    } else {
                        None
                    };
                    return Some((item, self.papers(turn, Some(charge), deadline, born)));
                }
                Taken::Expired(Parcel { charge, deadline, born, .. }) => {
                    self.papers(None, Some(charge), deadline, born).end(End::Expired);
                }
            }
        }
    }

    /// The papers of something that this stage has in hand from now on.
    pub(super) fn papers(
        &self,
        turn: Option<(u64, Turn)>,
        charge: Option<Charge>,
        deadline: u64,
        born: u64,
    ) -> Papers {
        let hand = self.engine.counts(self.stage).map(InHand::take).unwrap_or_default();
        let (number, turn) = turn.map_or((born, None), |(number, turn)| (number, Some(turn)));
        let engine = Arc::clone(&self.engine);
        Papers { turn, number, charge, hand, deadline, born, stage: self.stage, engine }
    }

    /// Calls a function and drives what it returns. `None` if it panicked: the pipeline has failed then.
    pub(super) async fn call<F, Fut>(&self, papers: &Papers, call: F) -> Option<Fut::Output>
    where
        F: FnOnce() -> Fut,
        Fut: Future,
    {
        match guarded(call).await {
            Ok(output) => Some(output),
            Err(message) => {
                papers.end(End::Failed);
                self.fail(Cause::Panicked(message));
                None
            }
        }
    }

    /// Nothing comes any more: this worker ends as it should.
    pub(super) fn finish(&self) {
        self.finished.store(true, Relaxed);
    }

    pub(super) fn fail(&self, cause: Cause) {
        let error = PipelineError::new(self.engine.name(self.stage), cause);
        self.engine.fate.fail(error);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.engine.clock_of(self.stage, |clock, now| clock.end(now));
        // Foreign code that panics where it is dropped.
        if std::thread::panicking() {
            self.fail(Cause::Panicked("a value of its function panicked when it was dropped".into()));
        } else if !self.finished.load(Relaxed) && !self.engine.fate.is_aborted() {
            self.fail(Cause::Stopped);
        }
    }
}

/// What belongs to an item that a stage has in hand: its turn, its bytes, its entry in the ledger. All of it ends
/// when this is dropped, in that order.
pub(super) struct Papers {
    turn: Option<Turn>,
    /// The turn, or where there is none the age: who gets room first.
    number: u64,
    charge: Option<Charge>,
    hand: InHand,
    deadline: u64,
    born: u64,
    stage: usize,
    engine: Arc<Engine>,
}

impl Papers {
    /// Waits for room for what will be made of it.
    pub(super) fn room(&self, bytes: u64) -> Asking {
        Asking::new(&self.engine, self.stage, self.number, bytes)
    }

    pub(super) fn has_expired(&self) -> bool {
        self.deadline != u64::MAX && self.deadline <= self.engine.clock.now()
    }

    /// How it ended.
    pub(super) fn end(&self, end: End) {
        if let Some(counts) = self.engine.counts(self.stage) {
            self.hand.end(counts, end);
        }
    }

    /// It was not begun with; false if it has ended already.
    pub(super) fn not_begun(&self) -> bool {
        self.engine.counts(self.stage).is_some_and(|counts| self.hand.not_begun(counts))
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn stage(&self) -> usize {
        self.stage
    }

    pub(super) fn retried(&self) {
        if let Some(counts) = self.engine.counts(self.stage) {
            counts.retry();
        }
    }

    pub(super) fn letters_lost(&self, letters: u64) {
        if let Some(counts) = self.engine.counts(self.stage) {
            counts.lose_letters(letters);
        }
    }

    /// The item is inside something from now on for which there is room: its bytes go back.
    pub(super) fn release(&mut self) {
        drop(self.charge.take());
    }

    /// Another item is inside the same from now on. It expires when all of them have.
    pub(super) fn absorb(&mut self, other: Self) {
        self.hand.absorb(&other.hand);
        self.deadline = self.deadline.max(other.deadline);
    }

    /// Hands on all that was made of it, in turn, at the price of `room`.
    pub(super) async fn hand_on<U: Weigh>(
        &self,
        room: Charge,
        item: U,
        inlet: &Inlet<U>,
    ) -> Result<(), TooLarge> {
        self.hand_on_part(room, item, inlet, true).await
    }

    /// Hands on one of what was made of it; `whole`: there is no more.
    pub(super) async fn hand_on_part<U: Weigh>(
        &self,
        mut room: Charge,
        item: U,
        inlet: &Inlet<U>,
        whole: bool,
    ) -> Result<(), TooLarge> {
        let (bytes, most) = (charge_of(&item), room.bytes());
        if bytes > most {
            return Err(TooLarge { bytes, most });
        }
        room.shrink_to(bytes);
        let parcel = Parcel { item, charge: room, deadline: self.deadline, born: self.born };
        let on_its_way = OnItsWay::new(parcel, self, inlet, whole);
        if let Some(turn) = &self.turn {
            turn.come().await;
        }
        on_its_way.put();
        Ok(())
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        self.end(End::Interrupted);
    }
}

/// Calls a function and drives what it returns; a panic is an error with its message.
pub(super) async fn guarded<F, Fut>(call: F) -> Result<Fut::Output, Arc<str>>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    let future = catch_unwind(AssertUnwindSafe(call)).map_err(|panic| message(&*panic))?;
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(message(&*panic))),
    })
    .await
}

/// What a panic says.
pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> Arc<str> {
    let message = panic.downcast_ref::<&str>().copied();
    message.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").into()
}

/// A time in which a worker waits, until it is dropped.
pub(super) struct Spell {
    engine: Arc<Engine>,
    stage: usize,
    wait: Wait,
}

impl Spell {
    pub(super) fn new(engine: &Arc<Engine>, stage: usize, wait: Wait) -> Self {
        engine.clock_of(stage, |clock, now| clock.wait(wait, now));
        Self { engine: Arc::clone(engine), stage, wait }
    }
}

impl Drop for Spell {
    fn drop(&mut self) {
        self.engine.clock_of(self.stage, |clock, now| clock.go_on(self.wait, now));
    }
}
