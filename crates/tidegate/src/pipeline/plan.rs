//! [`Plan`]: a whole pipeline that has not begun.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::budget::Budget;
use crate::clock::nanos;

use super::accounts::accounts;
use super::build::Draft;
use super::engine::{Bytes, Engine, Post};
use super::error::PlanError;
use super::ledger::Counts;
use super::purse::{Purse, feed};
use super::running::Running;
use super::worker::{Member, Worker};

/// A pipeline from source to sink, that has not begun.
///
/// ```
/// use tidegate::pipeline::{Pipeline, Stage};
///
/// let plan = Pipeline::from_iter(Stage::new("chunks").max_item(1 << 20), [vec![0_u8; 1 << 20]])
///     .sink(Stage::new("write").concurrency(4), |_chunk| async { Ok(()) })
///     .bytes(1 << 10);
/// let error = plan.run().unwrap_err();
/// assert!(error.to_string().contains("could get stuck with less than 1048576"), "{error}");
/// ```
#[must_use = "it does nothing before it is run"]
pub struct Plan {
    draft: Draft,
    bytes: Option<u64>,
    budget: Option<Budget>,
    deadline: Option<Duration>,
}

impl Plan {
    pub(super) fn new(draft: Draft) -> Self {
        Self { draft, bytes: None, budget: None, deadline: None }
    }

    /// Bytes that the whole pipeline holds at most: what is being made, waits, or is worked on. By default as many as
    /// its stages [take in](super::Stage::in_bytes) together.
    ///
    /// Each stage has one of its [largest items](super::Stage::max_item) for itself; whatever there is beyond that
    /// goes to whoever is furthest downstream.
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// Its bytes come from a budget. One of the largest items of each stage is leased when it starts, and kept to its
    /// end, so that no other holder can make it get stuck; what goes beyond, up to [`bytes`](Self::bytes), as it is
    /// needed, in steps. While the budget has no more, one task waits there for the whole pipeline.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use tidegate::budget::Budget;
    /// use tidegate::pipeline::{Pipeline, Stage};
    ///
    /// let process = Budget::new("process", 64 << 20);
    /// let imports = process.child("imports").limit(8 << 20).build();
    /// let running = Pipeline::from_iter(Stage::new("chunks").max_item(1 << 20), (0..20).map(|_| vec![0_u8; 1 << 20]))
    ///     .sink(Stage::new("write").concurrency(4), |_chunk| async { Ok(()) })
    ///     .budget(&imports)
    ///     .run()?;
    /// assert!(imports.used() >= 1 << 20);
    /// running.finish().await?;
    /// assert!(imports.peak() <= 8 << 20);
    /// assert_eq!(imports.used(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn budget(self, budget: &Budget) -> Self {
        Self { budget: Some(budget.clone()), ..self }
    }

    /// Every item is to be through so long after the source gave it. One that is late when a stage comes to it is
    /// dropped and counted ([`expired`](super::Ledger::expired)), and the source is not asked while an item would
    /// wait longer than that.
    pub fn deadline(self, after: Duration) -> Self {
        Self { deadline: Some(after), ..self }
    }

    /// Starts it on this tokio runtime: as many tasks as its stages work on items at a time, one for the source, and
    /// one that waits for the [budget](Self::budget). Here alone tasks are started.
    ///
    /// # Errors
    /// If it could get stuck (its bytes are fewer than one of the largest items of each stage, or a batch is more
    /// than half of what the next stage takes in), if a stage is not what it can be, or without a runtime: the
    /// message says what to do. If its budget has no bytes for it now ([`refusal`](PlanError::refusal)).
    pub fn run(self) -> Result<Running, PlanError> {
        let Self { draft: Draft { specs, tasks, lines }, bytes, budget, deadline } = self;
        let (accounts, common) = accounts(&specs, bytes)?;
        let Ok(runtime) = Handle::try_current() else {
            return Err(PlanError::new("a pipeline runs on a tokio runtime, and there is none here"));
        };
        let posts = specs.iter().map(|spec| Post {
            name: Arc::clone(&spec.name),
            workers: spec.concurrency,
            counts: Counts::default(),
        });
        let reserves = accounts.iter().fold(0_u64, |sum, account| sum.saturating_add(account.reserve));
        let leased = budget.as_ref().map(|budget| budget.try_lease(reserves)).transpose();
        let purse = leased.map_err(PlanError::full)?.map(|lease| Purse::new(lease, common));
        let bytes = Bytes { accounts, common, purse };
        let engine = Arc::new(Engine::new(posts.collect(), lines, bytes, deadline.map(nanos)));
        // All are members before one begins, so that the first to end is not the last.
        let mut ready = Vec::new();
        for (stage, (spec, launches)) in specs.iter().zip(tasks).enumerate() {
            let ordered = spec.ordered && spec.concurrency > 1;
            for (number, launch) in launches.into_iter().enumerate() {
                ready.push(launch(Worker::new(&engine, stage, number, ordered)));
            }
        }
        if let Some(budget) = budget {
            ready.push(Box::pin(feed(Member::new(&engine), Arc::clone(&engine), budget)));
        }
        let handles = ready.into_iter().map(|task| runtime.spawn(task).abort_handle()).collect();
        engine.fate.give_tasks(handles);
        Ok(Running::new(engine))
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("stages", &self.draft.specs)
            .field("bytes", &self.bytes)
            .field("deadline", &self.deadline)
            .finish()
    }
}
