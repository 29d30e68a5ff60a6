//! What a stage has in hand and its function does not: when the pipeline is aborted, it comes back.
//!
//! An item that waits for room, or to be tried again, was not begun with: it is [left](super::Ended::left) before its stage,
//! as if nobody had taken it. What was made of one and waits for its turn is left before the next stage, as if it had been
//! handed on. Only what a function has been given is gone with it.

use std::any::Any;

use super::ledger::End;
use super::line::{Inlet, Parcel};
use super::worker::Papers;

/// An item that a stage has taken and not given to its function.
pub(super) struct Ours<'p, T: Send + 'static> {
    item: Option<T>,
    papers: &'p Papers,
}

impl<'p, T: Send + 'static> Ours<'p, T> {
    pub(super) fn new(item: T, papers: &'p Papers) -> Self {
        Self { item: Some(item), papers }
    }

    /// To be given to its function. It is there exactly once.
    pub(super) fn take(mut self) -> Option<T> {
        self.item.take()
    }
}

impl<T: Send + 'static> Drop for Ours<'_, T> {
    fn drop(&mut self) {
        let Some(item) = self.item.take() else { return };
        let engine = self.papers.engine();
        if self.papers.not_begun() {
            engine.hand_back(self.papers.stage(), Box::new(item) as Box<dyn Any + Send>);
        }
    }
}

/// What was made, before it is in the next line.
pub(super) struct OnItsWay<'p, U> {
    parcel: Option<Parcel<U>>,
    papers: &'p Papers,
    inlet: &'p Inlet<U>,
    /// All that is made of its item: that has passed then.
    whole: bool,
}

impl<'p, U> OnItsWay<'p, U> {
    pub(super) fn new(parcel: Parcel<U>, papers: &'p Papers, inlet: &'p Inlet<U>, whole: bool) -> Self {
        Self { parcel: Some(parcel), papers, inlet, whole }
    }

    /// Into the line.
    pub(super) fn put(mut self) {
        self.go();
    }

    fn go(&mut self) {
        let Some(parcel) = self.parcel.take() else { return };
        let engine = self.papers.engine();
        self.inlet.put(parcel, engine.clock.now());
        if let Some(counts) = engine.counts(self.papers.stage()) {
            counts.emit();
        }
    }
}

impl<U> Drop for OnItsWay<'_, U> {
    fn drop(&mut self) {
        // Whoever else does not wait any longer has thrown it away.
        if self.parcel.is_some() && (self.whole || self.papers.engine().fate.is_aborted()) {
            self.go();
            if self.whole {
                self.papers.end(End::Passed);
            }
        }
    }
}
