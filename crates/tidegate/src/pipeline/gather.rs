//! Stages that make one item of many: batches, folds.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::Weigh;
use crate::clock::nanos;

use super::batch::Batch;
use super::error::Cause;
use super::failed::{AnyError, Failed};
use super::hand_back::Ours;
use super::line::{Inlet, Line};
use super::worker::{Papers, Worker, charge_of, largest};

/// What a stage makes of many.
pub(super) trait Gather<T>: Send {
    type Whole: Weigh + Send + 'static;

    /// Would one more be too much?
    fn fits(&self, whole: &Self::Whole, item: &T) -> bool;

    /// `None` if the pipeline has failed.
    fn add(
        &self,
        worker: &Worker,
        papers: &Papers,
        whole: Option<Self::Whole>,
        item: T,
    ) -> impl Future<Output = Option<Self::Whole>> + Send;
}

/// How much is gathered.
#[derive(Clone, Copy)]
pub(super) struct Until {
    pub(super) items: usize,
    pub(super) max_item: u64,
    pub(super) linger: Option<Duration>,
}

/// A worker's life. It holds room for the whole from the first item on, and each item's own bytes go back when it is
/// inside: it never waits for more while it holds what others wait for.
pub(super) async fn gather<T, G>(
    worker: Worker,
    line: Arc<Line<T>>,
    inlet: Inlet<G::Whole>,
    until: Until,
    stage: G,
) where
    T: Send + 'static,
    G: Gather<T>,
{
    let clock = worker.engine.clock;
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => first,
            None => match worker.take(&line).await {
                Some(first) => first,
                None => return,
            },
        };
        let (item, mut papers): (T, Papers) = first;
        let ours = Ours::new(item, &papers);
        let room = papers.room(largest(until.max_item)).await;
        let Some(item) = ours.take().filter(|_| !papers.has_expired()) else {
            papers.end(super::ledger::End::Expired);
            continue;
        };
        let Some(mut whole) = stage.add(&worker, &papers, None, item).await else { return };
        papers.release();
        let end = until.linger.and_then(|linger| clock.instant(clock.now().saturating_add(nanos(linger))));
        let mut items = 1;
        while items < until.items {
            let taken = match end {
                None => worker.take(&line).await,
                Some(end) => match tokio::time::timeout_at(end, worker.take(&line)).await {
                    Ok(taken) => taken,
                    Err(_) => break,
                },
            };
            let Some((item, more)) = taken else { break };
            if !stage.fits(&whole, &item) {
                next = Some((item, more));
                break;
            }
            whole = match stage.add(&worker, &more, Some(whole), item).await {
                Some(whole) => whole,
                None => return,
            };
            papers.absorb(more);
            items += 1;
        }
        if let Err(too_large) = papers.hand_on(room, whole, &inlet).await {
            papers.end(super::ledger::End::Failed);
            worker.fail(Cause::Failed(Arc::new(AnyError::from(too_large))));
            return;
        }
        papers.end(super::ledger::End::Passed);
    }
}

/// Items side by side.
pub(super) struct Batches<T> {
    pub(super) most: u64,
    pub(super) items: PhantomData<fn(T)>,
}

impl<T: Weigh + Send + 'static> Gather<T> for Batches<T> {
    type Whole = Batch<T>;

    fn fits(&self, batch: &Batch<T>, item: &T) -> bool {
        batch.weight().saturating_add(charge_of(item)) <= self.most
    }

    async fn add(&self, _: &Worker, _: &Papers, batch: Option<Batch<T>>, item: T) -> Option<Batch<T>> {
        let mut batch = batch.unwrap_or_default();
        let bytes = charge_of(&item);
        batch.push(item, bytes);
        Some(batch)
    }
}

/// Items worked into one.
pub(super) struct Folds<F, A> {
    pub(super) function: Arc<F>,
    pub(super) whole: PhantomData<fn(A)>,
}

impl<T, A, F, Fut> Gather<T> for Folds<F, A>
where
    T: Send + 'static,
    A: Weigh + Send + 'static,
    F: Fn(Option<A>, T) -> Fut + Send + Sync,
    Fut: Future<Output = Result<A, Failed<T>>> + Send,
{
    type Whole = A;

    fn fits(&self, _: &A, _: &T) -> bool {
        true
    }

    async fn add(&self, worker: &Worker, papers: &Papers, whole: Option<A>, item: T) -> Option<A> {
        match worker.call(papers, || (self.function)(whole, item)).await? {
            Ok(whole) => Some(whole),
            Err(failed) => {
                papers.end(super::ledger::End::Failed);
                worker.fail(Cause::Failed(Arc::new(failed.into_parts().1)));
                None
            }
        }
    }
}
