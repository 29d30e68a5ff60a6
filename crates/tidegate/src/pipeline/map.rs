//! Stages whose function makes one item, or nothing, of each.

use std::future::Future;
use std::sync::Arc;

use crate::channel::Weigh;

use super::each::{Attempt, Attempted};
use super::failed::Failed;
use super::hand_back::Ours;
use super::line::Inlet;
use super::worker::{Papers, Worker, largest};

/// One of each.
pub(super) struct Map<F, U> {
    pub(super) function: Arc<F>,
    pub(super) inlet: Inlet<U>,
    pub(super) max_item: u64,
}

impl<T, U, F, Fut> Attempt<T> for Map<F, U>
where
    T: Send + 'static,
    U: Weigh + Send + 'static,
    F: Fn(T) -> Fut + Send + Sync,
    Fut: Future<Output = Result<U, Failed<T>>> + Send,
{
    async fn attempt(&self, worker: &Worker, item: T, papers: &Arc<Papers>) -> Attempted<T> {
        // Room for what will be made comes before the making.
        let ours = Ours::new(item, papers);
        let room = papers.room(largest(self.max_item)).await;
        let Some(item) = ours.take().filter(|_| !papers.has_expired()) else { return Attempted::Expired };
        match worker.call(papers, || (self.function)(item)).await {
            None => Attempted::Over,
            Some(Err(failed)) => Attempted::Failed(failed),
            Some(Ok(made)) => match papers.hand_on(room, made, &self.inlet).await {
                Ok(()) => Attempted::Passed,
                Err(too_large) => Attempted::Failed(Failed::new(too_large)),
            },
        }
    }
}

/// The end: nothing comes out.
pub(super) struct Sink<F> {
    pub(super) function: Arc<F>,
}

impl<T, F, Fut> Attempt<T> for Sink<F>
where
    T: Send + 'static,
    F: Fn(T) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), Failed<T>>> + Send,
{
    async fn attempt(&self, worker: &Worker, item: T, papers: &Arc<Papers>) -> Attempted<T> {
        match worker.call(papers, || (self.function)(item)).await {
            None => Attempted::Over,
            Some(Err(failed)) => Attempted::Failed(failed),
            Some(Ok(())) => Attempted::Passed,
        }
    }
}
