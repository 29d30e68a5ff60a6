//! [`Running`]: a pipeline at work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ended::Ended;
use super::engine::Engine;
use super::error::PipelineError;
use super::snapshot::{Bottleneck, Snapshot};

/// A pipeline at work. Dropped, it is [aborted](Self::abort), without waiting for that.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use tidegate::pipeline::{Pipeline, Stage};
///
/// let running = Pipeline::from_iter(Stage::new("numbers"), 0_u64..)
///     .sink(Stage::new("slow"), |_| async {
///         tokio::time::sleep(Duration::from_millis(1)).await;
///         Ok(())
///     })
///     .run()?;
/// tokio::time::sleep(Duration::from_millis(20)).await;
/// println!("held up by {:?}", running.bottleneck());
/// // No more is asked for; what is under way comes through.
/// let ended = running.drain(Duration::from_secs(5)).await;
/// assert!(ended.in_time && ended.left.is_empty());
/// assert_eq!(ended.snapshot.asked(), ended.snapshot.delivered());
/// # Ok::<(), tidegate::pipeline::PlanError>(()) }).unwrap();
/// ```
#[must_use = "dropped, it is aborted"]
pub struct Running {
    engine: Arc<Engine>,
}

impl Running {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Waits until the source has no more and everything is through.
    ///
    /// It is not bounded in time and holds nothing, so there is no *when full*. **When cancelled**, the pipeline goes
    /// on; it can be asked again.
    ///
    /// # Errors
    /// The error that ended it, if one did; what it left comes back from [`abort`](Self::abort).
    pub async fn finish(&self) -> Result<Snapshot, PipelineError> {
        self.engine.fate.ended().await;
        match self.engine.fate.failure() {
            Some(error) => Err(error),
            None => Ok(self.snapshot()),
        }
    }

    /// The source is asked no more from now on. What is under way goes on.
    pub fn stop(&self) {
        self.engine.fate.stop();
    }

    /// [Stops](Self::stop) the source and waits until everything is through; what is not after this time is
    /// [aborted](Self::abort), and comes back if no function had been given it.
    ///
    /// There is no *when full*. **When cancelled**, the source stays stopped and the rest goes on. It lasts longer
    /// than said only where a function [blocks](super::Pipeline::map_blocking) or does not await.
    pub async fn drain(&self, within: Duration) -> Ended {
        self.stop();
        let in_time = tokio::time::timeout(within, self.engine.fate.ended()).await.is_ok();
        let ended = self.abort().await;
        Ended { in_time: in_time && ended.failure.is_none(), ..ended }
    }

    /// Ends every task at its next `await`, and waits for that: permits, leases and bytes that they hold are free
    /// then. What no function had been given comes [back](super::Ended::left). Work that [blocks](super::Pipeline::map_blocking) a thread is
    /// waited for.
    ///
    /// There is no *when full*. **When cancelled**, the tasks end all the same.
    pub async fn abort(&self) -> Ended {
        self.engine.fate.abort();
        self.engine.fate.ended().await;
        let (left, failure) = (self.engine.take_left(), self.engine.fate.failure());
        Ended { snapshot: self.snapshot(), in_time: false, left, failure }
    }

    /// Has every task ended?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.engine.fate.has_ended()
    }

    /// What flows, what waits, what became of it, and where the time goes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.engine)
    }

    /// What keeps it from being faster, since it began; see [`Snapshot::bottleneck`], and [`Snapshot::since`] for
    /// what holds now.
    #[must_use]
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        self.snapshot().bottleneck()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.fate.abort();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("has_ended", &self.has_ended()).finish_non_exhaustive()
    }
}
