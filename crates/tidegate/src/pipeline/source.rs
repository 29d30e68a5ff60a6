//! [`Source`]: where a pipeline's items come from, one when there is room for it.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{Receiver, Weigh};

use super::engine::Engine;
use super::error::Cause;
use super::failed::AnyError;
use super::ledger::End;
use super::line::Inlet;
use super::room::Asking;
use super::shares::Wait;
use super::worker::{Spell, Worker, guarded, largest};

/// Where items come from. It is asked for one when the first stage can use it, and there are bytes for it.
///
/// ```
/// use std::error::Error;
/// use tidegate::pipeline::Source;
///
/// struct Countdown(u32);
///
/// impl Source for Countdown {
///     type Item = u32;
///
///     async fn next(&mut self) -> Result<Option<u32>, Box<dyn Error + Send + Sync>> {
///         let next = self.0.checked_sub(1);
///         self.0 = next.unwrap_or(0);
///         Ok(next)
///     }
/// }
/// # let _ = Countdown(3).next();
/// ```
pub trait Source: Send + 'static {
    /// What it gives.
    type Item;

    /// The next item, or `None` after the last. The future is dropped when the pipeline is drained or aborted: what
    /// it has taken from elsewhere and not returned is lost then, so let the last `await` be the one that takes.
    ///
    /// # Errors
    /// The pipeline fails with it.
    fn next(
        &mut self,
    ) -> impl Future<Output = Result<Option<Self::Item>, Box<dyn Error + Send + Sync + 'static>>> + Send;
}

/// The items of an iterator.
pub(super) struct Iter<I>(pub(super) I);

impl<I: Iterator + Send + 'static> Source for Iter<I>
where
    I::Item: Send,
{
    type Item = I::Item;

    async fn next(&mut self) -> Result<Option<I::Item>, AnyError> {
        Ok(self.0.next())
    }
}

/// The items that a function gives.
pub(super) struct Calls<F>(pub(super) F);

impl<T, F, Fut> Source for Calls<F>
where
    T: Send,
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<T>, AnyError>> + Send,
{
    type Item = T;

    fn next(&mut self) -> impl Future<Output = Result<Option<T>, AnyError>> + Send {
        (self.0)()
    }
}

/// A channel is a source: what comes in there is received when the pipeline has room for it, so whoever sends feels
/// how fast the pipeline is. An item's bytes are the channel's until it is in the pipeline's own.
impl<T: Send + 'static> Source for Receiver<T> {
    type Item = T;

    async fn next(&mut self) -> Result<Option<T>, AnyError> {
        // There is room for it already, so its bytes are counted twice for a moment, and never not at all.
        Ok(self.recv().await.map(|leased| leased.into_parts().0))
    }
}

/// The shortest and the longest time after which it is looked again whether an item would be in time.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// A worker's life.
pub(super) async fn source<S>(worker: Worker, mut source: S, inlet: Inlet<S::Item>, max_item: u64)
where
    S: Source,
    S::Item: Weigh + Send + 'static,
{
    let engine = Arc::clone(&worker.engine);
    let mut stopped = std::pin::pin!(engine.fate.stopped());
    for born in 0.. {
        let room = async {
            worth_asking(&worker).await;
            Asking::new(&worker.engine, worker.stage, born, largest(max_item)).await
        };
        let room = tokio::select! {
            biased;
            () = &mut stopped => return worker.finish(),
            room = room => room,
        };
        let asked = tokio::select! {
            biased;
            () = &mut stopped => return worker.finish(),
            asked = guarded(|| source.next()) => asked,
        };
        let cause = match asked {
            Ok(Ok(None)) => return worker.finish(),
            Ok(Ok(Some(item))) => {
                let now = engine.clock.now();
                let deadline = engine.patience.map_or(u64::MAX, |patience| now.saturating_add(patience));
                let papers = worker.papers(None, None, deadline, born);
                match papers.hand_on(room, item, &inlet).await {
                    Ok(()) => {
                        papers.end(End::Passed);
                        continue;
                    }
                    Err(too_large) => {
                        papers.end(End::Failed);
                        Cause::Failed(Arc::new(AnyError::from(too_large)))
                    }
                }
            }
            Ok(Err(error)) => Cause::Failed(Arc::new(error)),
            Err(panic) => Cause::Panicked(panic),
        };
        worker.fail(cause);
        return;
    }
}

/// Waits until an item that is asked for now would be through before its deadline, as far as the lines tell. An empty
/// line has no wait, so this ends.
async fn worth_asking(worker: &Worker) {
    let engine: &Arc<Engine> = &worker.engine;
    let Some(patience) = engine.patience else { return };
    let mut spell = None;
    loop {
        let wait = engine.outlooks().fold(0_u64, |sum, (_, wait)| sum.saturating_add(wait));
        if wait <= patience {
            return;
        }
        spell.get_or_insert_with(|| Spell::new(engine, worker.stage, Wait::Turn));
        let (shortest, longest) = LOOK_AGAIN;
        tokio::time::sleep(Duration::from_nanos(wait - patience).clamp(shortest, longest)).await;
    }
}
