//! [`Care`]: what a stage does with an item that failed.

use std::sync::Arc;

use crate::channel::{Sender, Sent};

use super::error::Cause;
use super::failed::{AnyError, DeadLetter, Failed};
use super::hand_back::Ours;
use super::ledger::End;
use super::retry::{Retries, Retry};
use super::stage::Otherwise;
use super::worker::{Papers, Worker};

/// What a stage does with an item that failed.
pub(super) struct Care<T> {
    retries: Option<Retries>,
    otherwise: Otherwise<T>,
}

/// What comes next.
pub(super) enum After<T> {
    /// The same item, after a pause.
    Again(T),
    /// The next item.
    Next,
    /// Nothing: the pipeline has failed.
    Over,
}

impl<T: Send + 'static> Care<T> {
    pub(super) fn new(retry: Option<Retry>, otherwise: Otherwise<T>) -> Arc<Self> {
        Arc::new(Self { retries: retry.map(Retries::new), otherwise })
    }

    pub(super) fn passed(&self) {
        if let Some(retries) = &self.retries {
            retries.deposit();
        }
    }

    /// After an attempt failed, the how manieth it is, or none if it must not be repeated.
    pub(super) async fn after(
        &self,
        worker: &Worker,
        failed: Failed<T>,
        attempts: Option<u32>,
        papers: &Papers,
    ) -> After<T> {
        let (item, error) = failed.into_parts();
        let retries = self.retries.as_ref().zip(attempts);
        let pause = item.as_ref().and(retries).and_then(|(retries, attempts)| retries.withdraw(attempts));
        match (item, pause) {
            (Some(item), Some(pause)) => {
                papers.retried();
                let ours = Ours::new(item, papers);
                tokio::time::sleep(pause).await;
                ours.take().map_or(After::Over, After::Again)
            }
            (item, _) => self.for_good(worker, item, error, papers).await,
        }
    }

    async fn for_good(&self, worker: &Worker, item: Option<T>, error: AnyError, papers: &Papers) -> After<T> {
        let cause = match (&self.otherwise, item) {
            (Otherwise::Skip, _) => {
                papers.end(End::Skipped);
                return After::Next;
            }
            (Otherwise::DeadLetter(letters), Some(item)) => {
                let stage = worker.engine.name(worker.stage);
                match send(letters, DeadLetter { item, error, stage }).await {
                    Ok(lost) => {
                        papers.letters_lost(lost);
                        papers.end(End::DeadLettered);
                        return After::Next;
                    }
                    Err(refusal) => Cause::LetterRefused(Arc::new(refusal)),
                }
            }
            (Otherwise::DeadLetter(_), None) => Cause::NotGivenBack(Arc::new(error)),
            (Otherwise::Fail, _) => Cause::Failed(Arc::new(error)),
        };
        papers.end(End::Failed);
        worker.fail(cause);
        After::Over
    }
}

/// How many letters the channel's policy pushed out for this one, which may be itself.
async fn send<T>(letters: &Sender<DeadLetter<T>>, letter: DeadLetter<T>) -> Result<u64, AnyError> {
    match letters.send(letter).await {
        Ok(Sent::Accepted | Sent::Rerouted) => Ok(0),
        Ok(Sent::Displaced(lost)) => Ok(lost.len() as u64),
        Ok(Sent::Refused(full)) => Err(full.to_string().into()),
        Err(closed) => Err(closed.to_string().into()),
    }
}
