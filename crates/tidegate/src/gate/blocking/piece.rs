//! A piece of work on its way: it waits for a permit, is on a thread, is done.
//!
//! Its caller and the thread that woke it may both come for the permit; the state's lock decides, and is held while the
//! permit is asked for. Waking takes another lock, so that no waker ever waits for a caller that is asking.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tidegate_control::sample::Outcome;
use tokio::runtime::Handle;

use crate::limiter::{Acquire, Permit};
use crate::sync::{Mutex, lock};

use super::crew::Crew;
use super::failure::{BlockingError, Panicked};
use super::next::offer;
use super::step::{Loaded, Step};

/// Work and how it ended.
pub(super) trait Job<T>: FnOnce() -> (T, Outcome) + Send + 'static {}

impl<T, F: FnOnce() -> (T, Outcome) + Send + 'static> Job<T> for F {}

/// A piece of work, shared by its caller, its place in the queue and its thread.
pub(super) struct Piece<F, T> {
    state: Mutex<State<F, T>>,
    /// The task that waits for the result.
    caller: Mutex<Option<Waker>>,
    crew: Arc<Crew>,
    runtime: Handle,
}

enum State<F, T> {
    /// It waits for a permit.
    Waiting { permit: Acquire, work: F, bytes: Option<Permit> },
    /// It is on the way to a thread.
    Loaded { permit: Permit, work: F, bytes: Option<Permit> },
    /// Its caller left when it was on the way. The permit goes on to the thread, which gives it back.
    Empty(Permit),
    /// It is on a thread.
    Running,
    /// It is done, and its permit on the way back.
    Ended(Ending<T>),
    /// The result waits to be taken.
    Done(Ending<T>),
    /// The caller has the result, or left.
    Left,
}

/// A result, and the bytes that it holds until it is taken.
struct Ending<T> {
    result: Result<T, BlockingError>,
    bytes: Option<Permit>,
}

/// How far it came without a thread.
enum Progress {
    Wait,
    Loaded(Loaded),
    Done,
}

impl<F: Job<T>, T: Send + 'static> Piece<F, T> {
    pub(super) fn new(
        permit: Acquire,
        work: F,
        bytes: Option<Permit>,
        crew: Arc<Crew>,
        runtime: Handle,
    ) -> Arc<Self> {
        let state = Mutex::new(State::Waiting { permit, work, bytes });
        Arc::new(Self { state, caller: Mutex::new(None), crew, runtime })
    }

    /// The caller asks for the result.
    pub(super) fn poll(self: &Arc<Self>, waker: &Waker) -> Poll<Result<T, BlockingError>> {
        // Left before looking: a result that comes after that look finds whom to wake.
        let known = lock(&self.caller).as_ref().is_some_and(|known| known.will_wake(waker));
        if !known {
            let old = lock(&self.caller).replace(waker.clone());
            drop(old);
        }
        match self.advance() {
            Progress::Wait => Poll::Pending,
            Progress::Loaded(piece) => {
                self.crew.start(piece, &self.runtime);
                Poll::Pending
            }
            Progress::Done => self.take(),
        }
    }

    fn advance(self: &Arc<Self>) -> Progress {
        let mut state = lock(&self.state);
        let permit = match &mut *state {
            State::Waiting { permit, .. } => permit,
            State::Done(_) => return Progress::Done,
            _ => return Progress::Wait,
        };
        let waker = Waker::from(Arc::clone(self));
        let Poll::Ready(answer) = Pin::new(permit).poll(&mut Context::from_waker(&waker)) else {
            return Progress::Wait;
        };
        let State::Waiting { work, bytes, .. } = std::mem::replace(&mut *state, State::Running) else {
            return Progress::Wait;
        };
        match answer {
            Ok(permit) => {
                *state = State::Loaded { permit, work, bytes };
                Progress::Loaded(Loaded::new(Arc::clone(self) as Arc<dyn Step>))
            }
            Err(refused) => {
                *state = State::Done(Ending { result: Err(refused.into()), bytes: None });
                drop(state);
                drop((work, bytes));
                Progress::Done
            }
        }
    }

    fn take(&self) -> Poll<Result<T, BlockingError>> {
        let done = match &mut *lock(&self.state) {
            state @ State::Done(_) => std::mem::replace(state, State::Left),
            _ => return Poll::Pending,
        };
        match done {
            State::Done(Ending { result, bytes }) => {
                drop(bytes); // from here on they are the caller's
                Poll::Ready(result)
            }
            _ => Poll::Pending,
        }
    }

    /// The caller goes. What waits leaves the queue; what runs goes on.
    pub(super) fn leave(&self) {
        let mut state = lock(&self.state);
        // The work, the place in the queue, the result: foreign code may run in their drops, so not under the lock.
        match std::mem::replace(&mut *state, State::Left) {
            State::Loaded { permit, work, bytes } => {
                *state = State::Empty(permit);
                drop(state);
                drop((work, bytes));
            }
            old => {
                drop(state);
                drop(old);
            }
        }
        let caller = lock(&self.caller).take();
        drop(caller);
    }

    fn wake_caller(&self) {
        let caller = lock(&self.caller).take();
        if let Some(caller) = caller {
            caller.wake();
        }
    }
}

impl<F: Job<T>, T: Send + 'static> Wake for Piece<F, T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !offer(self, self.runtime.id()) {
            self.wake_caller();
        }
    }
}

impl<F: Job<T>, T: Send + 'static> Step for Piece<F, T> {
    fn claim(self: Arc<Self>) -> Option<Loaded> {
        match self.advance() {
            Progress::Wait => None,
            Progress::Loaded(piece) => Some(piece),
            Progress::Done => {
                // Refused, not admitted: that is for its caller.
                self.wake_caller();
                None
            }
        }
    }

    fn perform(&self) -> Option<(Permit, Outcome)> {
        let state = std::mem::replace(&mut *lock(&self.state), State::Running);
        let (mut permit, work, bytes) = match state {
            State::Loaded { permit, work, bytes } => (permit, work, bytes),
            State::Empty(permit) => {
                *lock(&self.state) = State::Left;
                return Some((permit, Outcome::Canceled));
            }
            other => {
                *lock(&self.state) = other;
                return None;
            }
        };
        let (result, outcome) = match catch_unwind(AssertUnwindSafe(work)) {
            Ok((result, outcome)) => (Ok(result), outcome),
            Err(payload) => (Err(BlockingError::Panicked(Panicked::new(payload))), Outcome::Ignore),
        };
        let ending = Ending { result, bytes };
        let mut state = lock(&self.state);
        if matches!(*state, State::Left) {
            drop(state);
            permit.late();
            drop(catch_unwind(AssertUnwindSafe(move || drop(ending))));
        } else {
            *state = State::Ended(ending);
        }
        Some((permit, outcome))
    }

    fn publish(&self) {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Left) {
            State::Ended(ending) => *state = State::Done(ending),
            other => {
                *state = other;
                return;
            }
        }
        drop(state);
        self.wake_caller();
    }

    fn stop(&self) {
        let mut state = lock(&self.state);
        let stopped = State::Done(Ending { result: Err(BlockingError::Stopped), bytes: None });
        let old = std::mem::replace(&mut *state, stopped);
        if matches!(old, State::Empty(_) | State::Left) {
            *state = State::Left;
        }
        drop(state);
        drop(old);
        self.wake_caller();
    }
}
