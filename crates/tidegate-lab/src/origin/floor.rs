//! The floor the workers stand on: one thread lets their time pass.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::workers::{OriginSettings, OriginStats, Workers};
use crate::clock::Clock;

/// The workers and the clock that drives them. The lock is held for a few steps of the model at a time.
#[derive(Debug)]
pub(crate) struct Floor {
    clock: Clock,
    reports: bool,
    workers: Mutex<Workers>,
    sooner: Condvar,
    closed: AtomicBool,
}

/// While this lives, time passes for the workers.
#[derive(Debug)]
pub(crate) struct Open(Arc<Floor>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
        // Under the lock: the thread either sees the flag or hears the notice.
        let _workers = self.0.workers();
        self.0.sooner.notify_one();
    }
}

impl Floor {
    pub(crate) fn new(settings: OriginSettings) -> Self {
        Self {
            clock: Clock::start(),
            reports: settings.report,
            workers: Mutex::new(Workers::new(settings)),
            sooner: Condvar::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Starts the thread.
    pub(crate) fn open(floor: &Arc<Self>) -> io::Result<Open> {
        let driven = Arc::clone(floor);
        std::thread::Builder::new().name("workers".to_owned()).spawn(move || driven.drive())?;
        Ok(Open(Arc::clone(floor)))
    }

    fn drive(&self) {
        loop {
            let mut workers = self.workers();
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            workers.advance(self.clock.now());
            let next = workers.next();
            self.clock.wait_until(next, &self.sooner, workers);
        }
    }

    /// As [`Workers::arrive`]; `gone_at` is when the client said that it would give up.
    pub(crate) fn arrive(&self, gone_at: Option<SystemTime>) -> Option<oneshot::Receiver<()>> {
        let gone_at = gone_at.map_or(u64::MAX, |date| self.clock.at(date));
        self.change(|workers, now| workers.arrive(now, gone_at))
    }

    /// Does every answer say how many requests are inside? Set once, so that this takes no lock.
    pub(crate) fn reports(&self) -> bool {
        self.reports
    }

    pub(crate) fn settings(&self) -> OriginSettings {
        self.workers().settings
    }

    pub(crate) fn set(&self, settings: OriginSettings) {
        self.change(|workers, now| {
            workers.advance(now);
            workers.settings = settings;
            workers.advance(now);
        });
    }

    pub(crate) fn stats(&self) -> OriginStats {
        self.change(|workers, now| {
            workers.advance(now);
            workers.stats()
        })
    }

    fn change<T>(&self, what: impl FnOnce(&mut Workers, u64) -> T) -> T {
        let mut workers = self.workers();
        let before = workers.next();
        let result = what(&mut workers, self.clock.now());
        // The thread sleeps until `before`: wake it only for something earlier.
        let sooner = match (before, workers.next()) {
            (Some(before), Some(next)) => next < before,
            (None, next) => next.is_some(),
            (Some(_), None) => false,
        };
        drop(workers);
        if sooner {
            self.sooner.notify_one();
        }
        result
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
