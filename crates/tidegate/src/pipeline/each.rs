//! The way of each item through a stage: taken, tried, tried again, done, or what its stage does with what fails.

use std::future::Future;
use std::sync::Arc;

use super::care::{After, Care};
use super::failed::Failed;
use super::ledger::End;
use super::line::Line;
use super::worker::{Papers, Worker};

/// What a stage does with an item, once.
pub(super) trait Attempt<T>: Send {
    fn attempt(
        &self,
        worker: &Worker,
        item: T,
        papers: &Arc<Papers>,
    ) -> impl Future<Output = Attempted<T>> + Send;
}

/// How one attempt ended.
pub(super) enum Attempted<T> {
    Passed,
    Expired,
    Failed(Failed<T>),
    /// It failed when something had been handed on already, which must not happen twice.
    FailedHalfway(Failed<T>),
    /// The pipeline has failed.
    Over,
}

/// A worker's life.
pub(super) async fn each<T, A>(worker: Worker, line: Arc<Line<T>>, care: Arc<Care<T>>, stage: A)
where
    T: Send + 'static,
    A: Attempt<T>,
{
    while let Some((mut item, papers)) = worker.take(&line).await {
        let papers = Arc::new(papers);
        let mut failed = 0;
        loop {
            let (error, again) = match stage.attempt(&worker, item, &papers).await {
                Attempted::Passed => {
                    care.passed();
                    papers.end(End::Passed);
                    break;
                }
                Attempted::Expired => {
                    papers.end(End::Expired);
                    break;
                }
                Attempted::Failed(error) => (error, true),
                Attempted::FailedHalfway(error) => (error, false),
                Attempted::Over => return,
            };
            failed += 1;
            match care.after(&worker, error, if again { Some(failed) } else { None }, &papers).await {
                After::Again(given_back) => item = given_back,
                After::Next => break,
                After::Over => return,
            }
        }
    }
}
