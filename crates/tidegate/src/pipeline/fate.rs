//! [`Fate`]: how a pipeline ends, and whether all of it has.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::sync::{Mutex, lock};

use super::error::PipelineError;

/// How a pipeline ends. It knows nothing of what flows through it.
#[derive(Default)]
pub(super) struct Fate {
    /// The source is to be asked no more.
    stopped: AtomicBool,
    stop: Notify,
    /// Every task is to end at its next await.
    aborted: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
    failure: Mutex<Option<PipelineError>>,
    members: AtomicUsize,
    alone: Notify,
    over: AtomicBool,
    ended: Notify,
}

impl Fate {
    pub(super) fn stop(&self) {
        self.stopped.store(true, SeqCst);
        self.stop.notify_waiters();
    }

    /// Waits until the source is to be asked no more.
    pub(super) async fn stopped(&self) {
        wait(&self.stop, || self.stopped.load(SeqCst)).await;
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(SeqCst)
    }

    /// Every task ends at its next await.
    pub(super) fn abort(&self) {
        self.stop();
        self.aborted.store(true, SeqCst);
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// The tasks that an abort ends.
    pub(super) fn give_tasks(&self, tasks: Vec<AbortHandle>) {
        *lock(&self.tasks) = tasks;
        if self.is_aborted() {
            self.abort();
        }
    }

    /// The pipeline fails; the first error is the one that counts.
    pub(super) fn fail(&self, error: PipelineError) {
        lock(&self.failure).get_or_insert(error);
        self.abort();
    }

    pub(super) fn failure(&self) -> Option<PipelineError> {
        lock(&self.failure).clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// Waits until the last task has ended.
    pub(super) async fn ended(&self) {
        wait(&self.ended, || self.has_ended()).await;
    }

    /// Waits until whoever asks is the only member left.
    pub(super) async fn alone(&self) {
        wait(&self.alone, || self.members.load(SeqCst) <= 1).await;
    }

    pub(super) fn join(&self) {
        self.members.fetch_add(1, SeqCst);
    }

    /// One of them ends; the last one runs `last` before anybody hears of it. Only members bring in members, so there
    /// is one last.
    pub(super) fn leave(&self, last: impl FnOnce()) {
        match self.members.fetch_sub(1, SeqCst) {
            1 => {
                last();
                self.over.store(true, SeqCst);
                self.ended.notify_waiters();
            }
            2 => self.alone.notify_waiters(),
            _ => {}
        }
    }
}

async fn wait(notify: &Notify, is: impl Fn() -> bool) {
    loop {
        let mut notified = std::pin::pin!(notify.notified());
        notified.as_mut().enable();
        if is() {
            return;
        }
        notified.await;
    }
}
