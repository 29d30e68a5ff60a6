//! Room for what a stage will make: waited for, held, handed on with the item, given back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tidegate_control::credit::Spot;
use tokio::task::coop;

use crate::sync::{Mutex, lock};

use super::engine::Engine;
use super::shares::Wait;

/// Bytes that are held in a stage's account until this is dropped.
pub(super) struct Charge {
    engine: Arc<Engine>,
    account: usize,
    turn: u64,
    bytes: u64,
}

impl Charge {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what is beyond `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        if less > 0 {
            self.bytes -= less;
            self.engine.with_books(|books| books.grants.shrink(self.account, self.turn, less));
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.engine.with_books(|books| books.grants.put_back(self.account, self.turn, self.bytes));
    }
}

/// Where somebody waits for room.
#[derive(Debug, Default)]
pub(super) struct Seat(Mutex<Answer>);

#[derive(Debug, Default)]
struct Answer {
    granted: bool,
    waker: Option<Waker>,
}

impl Seat {
    /// The books are locked; who is to be woken when they are not.
    pub(super) fn grant(&self) -> Option<Waker> {
        let mut answer = lock(&self.0);
        answer.granted = true;
        answer.waker.take()
    }

    fn poll(&self, waker: &Waker) -> bool {
        let mut answer = lock(&self.0);
        if answer.granted {
            return true;
        }
        let news = !answer.waker.as_ref().is_some_and(|parked| parked.will_wake(waker));
        let old = if news { answer.waker.replace(waker.clone()) } else { None };
        drop(answer);
        drop(old);
        false
    }
}

/// Waits for room. Dropped, it waits no more, and what it was granted goes back.
pub(super) struct Asking {
    engine: Arc<Engine>,
    account: usize,
    turn: u64,
    bytes: u64,
    waits: Option<(Spot, Arc<Seat>)>,
}

impl Asking {
    pub(super) fn new(engine: &Arc<Engine>, account: usize, turn: u64, bytes: u64) -> Self {
        Self { engine: Arc::clone(engine), account, turn, bytes, waits: None }
    }

    fn charge(&self) -> Charge {
        Charge { engine: Arc::clone(&self.engine), account: self.account, turn: self.turn, bytes: self.bytes }
    }
}

impl Future for Asking {
    type Output = Charge;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Charge> {
        // Whoever always finds room has to let others run, and an abort in.
        let coop = ready!(coop::poll_proceed(cx));
        let this = &mut *self;
        if let Some((_, seat)) = &this.waits {
            if !seat.poll(cx.waker()) {
                return Poll::Pending;
            }
            coop.made_progress();
            this.waits = None;
            return Poll::Ready(this.charge());
        }
        let (account, turn, bytes) = (this.account, this.turn, this.bytes);
        let clock = &this.engine.clock;
        this.waits = this.engine.with_books(|books| {
            books.grants.take(account, turn, bytes).err()?;
            let seat = Arc::new(Seat(Mutex::new(Answer { granted: false, waker: Some(cx.waker().clone()) })));
            let spot = books.grants.wait(account, turn, bytes, Arc::clone(&seat));
            if let Some(stage) = books.clock(account) {
                stage.wait(Wait::Room, clock.now());
            }
            Some((spot, seat))
        });
        if this.waits.is_some() {
            return Poll::Pending;
        }
        coop.made_progress();
        Poll::Ready(this.charge())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Some((spot, _seat)) = self.waits.take() else { return };
        let clock = &self.engine.clock;
        let left = self.engine.with_books(|books| {
            let left = books.grants.leave(spot)?;
            if let Some(stage) = books.clock(self.account) {
                stage.go_on(Wait::Room, clock.now());
            }
            Some(left)
        });
        if left.is_none() {
            // It had been granted, and nobody took it.
            drop(self.charge());
        }
    }
}

/// The turn of an item in an ordered stage; ends when this is dropped.
pub(super) struct Turn {
    engine: Arc<Engine>,
    stage: usize,
    turn: u64,
}

impl Turn {
    pub(super) fn new(engine: &Arc<Engine>, stage: usize, turn: u64) -> Self {
        Self { engine: Arc::clone(engine), stage, turn }
    }

    /// Waits until everything before it has ended.
    pub(super) fn come(&self) -> Coming<'_> {
        Coming { turn: self, waits: false }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.engine.end_turn(self.stage, self.turn);
    }
}

/// Waits for a turn.
pub(super) struct Coming<'t> {
    turn: &'t Turn,
    waits: bool,
}

impl Future for Coming<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Turn { engine, stage, turn } = self.turn;
        let is_turn = engine.is_turn(*stage, *turn, cx.waker());
        if is_turn == self.waits {
            self.waits = !is_turn;
            engine.clock_of(*stage, |clock, now| match is_turn {
                true => clock.go_on(Wait::Turn, now),
                false => clock.wait(Wait::Turn, now),
            });
        }
        if is_turn { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        if self.waits {
            let Turn { engine, stage, turn } = self.turn;
            engine.leave_turn(*stage, *turn);
            engine.clock_of(*stage, |clock, now| clock.go_on(Wait::Turn, now));
        }
    }
}
