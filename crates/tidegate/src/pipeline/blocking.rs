//! Stages whose function blocks its thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::channel::Weigh;

use super::each::{Attempt, Attempted};
use super::error::Cause;
use super::failed::Failed;
use super::hand_back::Ours;
use super::ledger::End;
use super::line::Inlet;
use super::worker::{Member, Papers, Worker, largest, message};

/// One of each, made on a thread that may block.
pub(super) struct Block<F, U> {
    pub(super) function: Arc<F>,
    pub(super) inlet: Inlet<U>,
    pub(super) max_item: u64,
}

impl<T, U, F> Attempt<T> for Block<F, U>
where
    T: Send + 'static,
    U: Weigh + Send + 'static,
    F: Fn(T) -> Result<U, Failed<T>> + Send + Sync + 'static,
{
    async fn attempt(&self, worker: &Worker, item: T, papers: &Arc<Papers>) -> Attempted<T> {
        let ours = Ours::new(item, papers);
        let room = papers.room(largest(self.max_item)).await;
        let Some(item) = ours.take().filter(|_| !papers.has_expired()) else { return Attempted::Expired };
        // What a thread works on stays held until the thread is done, also when nobody waits for it any more; and the
        // pipeline has not ended before.
        let held = (Arc::clone(papers), Member::new(&worker.engine));
        let function = Arc::clone(&self.function);
        let work = move || {
            let made = catch_unwind(AssertUnwindSafe(|| function(item)));
            drop(function);
            (made.map_err(|panic| message(&*panic)), room, held)
        };
        let done = OnThread(tokio::task::spawn_blocking(work)).join().await;
        match done {
            Err(_stopped) => {
                papers.end(End::Interrupted);
                worker.fail(Cause::Stopped);
                Attempted::Over
            }
            Ok((Err(panic), ..)) => {
                papers.end(End::Failed);
                worker.fail(Cause::Panicked(panic));
                Attempted::Over
            }
            Ok((Ok(Err(failed)), ..)) => Attempted::Failed(failed),
            Ok((Ok(Ok(made)), room, _held)) => match papers.hand_on(room, made, &self.inlet).await {
                Ok(()) => Attempted::Passed,
                Err(too_large) => Attempted::Failed(Failed::new(too_large)),
            },
        }
    }
}

/// Work on a thread, or on the way to one. Dropped on the way, it is not begun.
struct OnThread<R>(JoinHandle<R>);

impl<R> OnThread<R> {
    async fn join(mut self) -> Result<R, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<R> Drop for OnThread<R> {
    fn drop(&mut self) {
        // Tokio drops only what no thread has begun with.
        self.0.abort();
    }
}
