//! [`Ended`]: how a pipeline ended, and what it had not worked on.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::error::PipelineError;
use super::snapshot::Snapshot;

/// How a pipeline ended that was drained or aborted.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "what was left is in here"]
pub struct Ended {
    /// What became of everything, to the last item.
    pub snapshot: Snapshot,
    /// The items that no function had been given: those that waited between two stages, and those that a stage had taken and
    /// that waited for room, for their turn, or to be tried again. The nearest to the source first. Their bytes are no
    /// longer held by the pipeline.
    pub left: Vec<Left>,
    /// Did it run until it was empty?
    pub in_time: bool,
    /// The error that ended it, if one did.
    pub failure: Option<PipelineError>,
}

impl Ended {
    /// Takes out the items of one type that waited before a stage.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use tidegate::pipeline::{Pipeline, Stage};
    ///
    /// let running = Pipeline::from_iter(Stage::new("numbers"), 0..10_u32)
    ///     .sink(Stage::new("never"), |_| std::future::pending())
    ///     .run()?;
    /// while running.snapshot().asked() < 2 {
    ///     tokio::task::yield_now().await;
    /// }
    /// let mut ended = running.drain(Duration::from_millis(10)).await;
    /// assert!(!ended.in_time);
    /// assert_eq!(ended.take::<u32>("never"), [1], "0 was being worked on");
    /// # Ok::<(), tidegate::pipeline::PlanError>(()) }).unwrap();
    /// ```
    pub fn take<T: 'static>(&mut self, stage: &str) -> Vec<T> {
        let (taken, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|left| &*left.stage == stage && left.item.is::<T>());
        self.left = left;
        let taken: Vec<Left> = taken;
        taken.into_iter().filter_map(|left| left.item.downcast().ok()).map(|item| *item).collect()
    }
}

/// An item that no function had been given.
#[non_exhaustive]
pub struct Left {
    /// The stage that was to work on it next.
    pub stage: Arc<str>,
    /// The item.
    pub item: Box<dyn Any + Send>,
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Left").field("stage", &self.stage).finish_non_exhaustive()
    }
}
