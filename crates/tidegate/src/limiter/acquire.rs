//! A permit, after a bounded wait if need be; and work under it.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::demand::Demand;
use crate::refused::Refused;

use super::limiter::Limiter;
use super::permit::Permit;
use super::ticket::{Admission, Ticket};

/// Resolves to a permit; made by [`Limiter::acquire`].
///
/// It asks when it is first polled. **When full:** it waits as the limiter's queue has it, or resolves to the refusal.
/// **When cancelled:** dropping it leaves the queue at once, and nothing is lost. It panics neither when polled again after it resolved (it stays pending) nor outside a runtime (a
/// wait then ends as [`Ticket`] describes).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Acquire {
    /// Until it has asked.
    limiter: Option<Limiter>,
    state: State,
}

#[derive(Debug)]
enum State {
    New(Demand),
    Waiting(Ticket),
    Done,
}

impl Acquire {
    #[inline]
    pub(super) fn new(limiter: Limiter, demand: Demand) -> Self {
        Self { limiter: Some(limiter), state: State::New(demand) }
    }
}

impl Future for Acquire {
    type Output = Result<Permit, Refused>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let (State::New(demand), Some(limiter)) = (&mut this.state, this.limiter.take()) {
            if let Some((joined, terms)) = limiter.shared().join(demand, cx.waker()) {
                let waiting = State::Waiting(Ticket::parked(limiter, joined, terms, demand));
                // What the demand owned is dropped by itself, so that nothing is in the way of making the ticket where
                // it stays: moves cost more here than all the rest.
                demand.forget_names();
                std::mem::forget(std::mem::replace(&mut this.state, waiting));
                return Poll::Pending;
            }
            match limiter.ask(demand) {
                Ok(Admission::Waiting(ticket)) => this.state = State::Waiting(ticket),
                Ok(Admission::Admitted(permit)) => {
                    this.state = State::Done;
                    return Poll::Ready(Ok(permit));
                }
                Err(refused) => {
                    this.state = State::Done;
                    return Poll::Ready(Err(refused));
                }
            }
        }
        this.poll_ticket(cx)
    }
}

impl Acquire {
    #[inline]
    fn poll_ticket(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Refused>> {
        let State::Waiting(ticket) = &mut self.state else { return Poll::Pending };
        if let Some((limiter, ending)) = ticket.take_granted() {
            if ticket.owns_nothing() {
                std::mem::forget(std::mem::replace(&mut self.state, State::Done));
            } else {
                self.state = State::Done;
            }
            return Poll::Ready(Ok(Permit::new(limiter, ending)));
        }
        let polled = Pin::new(ticket).poll(cx);
        if polled.is_ready() {
            self.state = State::Done;
        }
        polled
    }
}

/// Work under [`Limiter::run`] did not succeed.
#[derive(Debug)]
pub enum RunError<E> {
    /// It was not started.
    Refused(Refused),
    /// It failed by itself.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for RunError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Inner(error) => Some(error),
        }
    }
}
