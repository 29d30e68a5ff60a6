//! [`Line`]: what waits between two stages, taken by any of the next stage's workers in the order in which it came.
//!
//! Its bound is the account of the stage before: whatever is put in has been granted its bytes, at least
//! [`LEAST`] each, so it never has to refuse.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tidegate_control::wait::DrainRate;
use tokio::task::coop;

use crate::sync::{Mutex, lock};
use crate::wakes::Wakes;

use super::engine::Engine;
use super::room::Charge;
use super::shares::Wait;

/// What an item is charged at least, for its place and its papers.
pub(super) const LEAST: u64 = 64;

/// An item on its way.
pub(super) struct Parcel<T> {
    pub(super) item: T,
    pub(super) charge: Charge,
    /// After it, it is of no use.
    pub(super) deadline: u64,
    /// The number of the source's item that it comes from.
    pub(super) born: u64,
}

/// What a worker took out of a line.
pub(super) enum Taken<T> {
    /// An item, and its turn among all that were taken.
    Parcel(Parcel<T>, u64),
    /// An item whose deadline has passed.
    Expired(Parcel<T>),
}

/// What waits between two stages.
pub(super) struct Line<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    parcels: VecDeque<Parcel<T>>,
    /// The workers that wait, by number.
    idle: Vec<Option<Waker>>,
    /// Those that may put something in.
    senders: usize,
    turns: u64,
    pace: DrainRate,
}

impl<T> State<T> {
    /// The workers that wait longest come by their numbers: it does not matter which.
    fn wake_one(&mut self) -> Option<Waker> {
        self.idle.iter_mut().find_map(Option::take)
    }
}

impl<T> Line<T> {
    pub(super) fn new(workers: usize, senders: usize) -> Arc<Self> {
        let idle = (0..workers).map(|_| None).collect();
        let state = State { parcels: VecDeque::new(), idle, senders, turns: 0, pace: DrainRate::default() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(super) fn put(&self, parcel: Parcel<T>, now: u64) {
        let waker = {
            let mut state = lock(&self.state);
            state.parcels.push_back(parcel);
            state.pace.bound(now);
            state.wake_one()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits for something; `None` when nothing will come any more. One at a time for each worker.
    pub(super) fn take<'l>(&'l self, engine: &'l Engine, stage: usize, worker: usize) -> Taking<'l, T> {
        Taking { line: self, engine, stage, worker, waits: false }
    }

    /// One that puts things in goes.
    fn leave(&self) {
        let mut wakes = Wakes::default();
        {
            let mut state = lock(&self.state);
            state.senders = state.senders.saturating_sub(1);
            if state.senders == 0 {
                state.idle.iter_mut().for_each(|waker| wakes.extend(waker.take()));
            }
        }
        wakes.run();
    }

    fn join(&self) {
        lock(&self.state).senders += 1;
    }
}

/// What can be asked of a line, whatever it holds.
pub(super) trait Waiting: Send + Sync {
    /// How many wait, and how long a newcomer would, in nanoseconds; 0 as long as nothing is known.
    fn outlook(&self) -> (u64, u64);

    /// Everything that waits, without its charges.
    fn clear(&self) -> Vec<Box<dyn Any + Send>>;
}

impl<T: Send + 'static> Waiting for Line<T> {
    fn outlook(&self) -> (u64, u64) {
        let state = lock(&self.state);
        let waiting = u64::try_from(state.parcels.len()).unwrap_or(u64::MAX);
        if waiting == 0 {
            return (0, 0);
        }
        // It is taken after those before it, as one more.
        let wait = state.pace.predict(waiting.saturating_add(1), None).map_or(0, |prediction| prediction.p50);
        (waiting, wait)
    }

    fn clear(&self) -> Vec<Box<dyn Any + Send>> {
        let parcels = std::mem::take(&mut lock(&self.state).parcels);
        parcels.into_iter().map(|parcel| Box::new(parcel.item) as Box<dyn Any + Send>).collect()
    }
}

/// Waits for an item.
pub(super) struct Taking<'l, T> {
    line: &'l Line<T>,
    engine: &'l Engine,
    stage: usize,
    worker: usize,
    waits: bool,
}

impl<T> Taking<'_, T> {
    fn went_on(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.engine.clock_of(self.stage, |clock, now| clock.go_on(Wait::Input, now));
        }
    }
}

impl<T> Future for Taking<'_, T> {
    type Output = Option<Taken<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A worker whose line never gets empty has to let others run, and an abort in.
        let coop = ready!(coop::poll_proceed(cx));
        let now = self.engine.clock.now();
        let old;
        let taken = {
            let mut state = lock(&self.line.state);
            // It may have been woken by something else: it does not stand in line twice.
            old = state.idle.get_mut(self.worker).and_then(Option::take);
            match state.parcels.pop_front() {
                Some(parcel) => {
                    let expired = parcel.deadline <= now;
                    // What nobody works on says nothing about how fast work goes.
                    state.pace.dispatched(now, u64::from(!expired));
                    if state.parcels.is_empty() {
                        state.pace.unbound();
                    }
                    Poll::Ready(Some(if expired {
                        Taken::Expired(parcel)
                    } else {
                        let turn = state.turns;
                        state.turns += 1;
                        Taken::Parcel(parcel, turn)
                    }))
                }
                None if state.senders == 0 => Poll::Ready(None),
                None => {
                    if let Some(place) = state.idle.get_mut(self.worker) {
                        *place = Some(cx.waker().clone());
                    }
                    Poll::Pending
                }
            }
        };
        drop(old);
        if taken.is_ready() {
            coop.made_progress();
            self.went_on();
        } else if !self.waits {
            self.waits = true;
            self.engine.clock_of(self.stage, |clock, now| clock.wait(Wait::Input, now));
        }
        taken
    }
}

impl<T> Drop for Taking<'_, T> {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        self.went_on();
        let (own, next) = {
            let mut state = lock(&self.line.state);
            let own = state.idle.get_mut(self.worker).and_then(Option::take);
            // It was woken for something and does not take it: somebody else is to.
            let pass_on = own.is_none() && !state.parcels.is_empty();
            let next = if pass_on { state.wake_one() } else { None };
            (own, next)
        };
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// The right to put things into a line; when the last is gone, nothing will come any more.
pub(super) struct Inlet<T>(Arc<Line<T>>);

impl<T> Inlet<T> {
    /// One of those that the line was [made](Line::new) with.
    pub(super) fn first(line: &Arc<Line<T>>) -> Self {
        Self(Arc::clone(line))
    }

    pub(super) fn put(&self, parcel: Parcel<T>, now: u64) {
        self.0.put(parcel, now);
    }
}

impl<T> Clone for Inlet<T> {
    fn clone(&self) -> Self {
        self.0.join();
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Inlet<T> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
