//! [`Snapshot`]: what flows, what waits, what became of it, and where the time goes.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::ledger::Ledger;
use super::shares::{Shares, Times};

/// A pipeline at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The source first, the sink last.
    pub stages: Vec<StageSnapshot>,
    /// Bytes that are held: made or being made, waiting, worked on.
    pub held: u64,
    /// Bytes that may be held at most.
    pub bytes: u64,
    /// The most that were held at a time.
    pub peak: u64,
}

/// One stage of a [`Snapshot`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Items it works on at a time.
    pub workers: usize,
    /// Items that wait before it.
    pub queued: u64,
    /// Bytes that are made for it, wait before it or are worked on by it.
    pub held: u64,
    /// How long an item would wait before it, as far as is known; zero while nothing is.
    pub est_wait: Duration,
    /// What became of its items.
    pub ledger: Ledger,
    times: Times,
}

impl StageSnapshot {
    /// What its workers spent their time on.
    #[must_use]
    pub fn shares(&self) -> Shares {
        self.times.shares()
    }
}

/// What keeps a pipeline from being faster.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Bottleneck {
    /// This stage works all the time, and what is before it waits for it. If it is the first, the source gives no more.
    Stage(Arc<str>),
    /// This stage waits for bytes: the budget is too small for what the stages behind it hold.
    Budget(Arc<str>),
}

impl Snapshot {
    pub(super) fn of(engine: &Engine) -> Self {
        let now = engine.clock.now();
        let outlooks = std::iter::once((0, 0)).chain(engine.outlooks());
        let outlooks: Vec<_> = outlooks.collect();
        let (mut times, mut holds) = (Vec::new(), Vec::new());
        let (held, bytes, peak) = engine.with_books(|books| {
            for stage in 0..engine.stages.len() {
                times.push(books.clock(stage).map(|clock| clock.times(now)).unwrap_or_default());
                let before = stage.checked_sub(1);
                holds.push(before.map_or(0, |account| books.grants.holds(account).0));
            }
            (books.grants.held(), books.bytes(), books.peak())
        });
        let rows = engine.stages.iter().zip(outlooks).zip(times.into_iter().zip(holds));
        let stages = rows.map(|((post, (queued, wait)), (times, held))| StageSnapshot {
            name: Arc::clone(&post.name),
            workers: post.workers,
            queued,
            held,
            est_wait: Duration::from_nanos(wait),
            ledger: post.counts.read(),
            times,
        });
        Self { stages: stages.collect(), held, bytes, peak }
    }

    /// Items that the source gave.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.stages.first().map_or(0, |source| source.ledger.taken)
    }

    /// Items that the sink has done its work on.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.stages.last().map_or(0, |sink| sink.ledger.passed)
    }

    /// The stage of this name; the first of them.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageSnapshot> {
        self.stages.iter().find(|stage| &*stage.name == name)
    }

    /// The same, with the [shares](StageSnapshot::shares) and the [bottleneck](Self::bottleneck) of the time since
    /// `earlier` only. Of the same pipeline.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        for (stage, before) in self.stages.iter_mut().zip(&earlier.stages) {
            stage.times = stage.times.since(&before.times);
        }
        self
    }

    /// What keeps it from being faster: the last stage that works more than half of its time while the one before it
    /// is rather blocked by it than starved; else the budget, with the last stage that waits for that more than half
    /// of its time. `None` if nothing stands out.
    #[must_use]
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        let shares: Vec<_> = self.stages.iter().map(StageSnapshot::shares).collect();
        let at = (0..shares.len()).rev().find(|at| {
            let before = at.checked_sub(1).and_then(|before| shares.get(before));
            let held_up = before.is_none_or(|before| before.blocked_on_output > before.starved);
            held_up && shares.get(*at).is_some_and(|shares| shares.busy > 0.5)
        });
        if let Some(stage) = at.and_then(|at| self.stages.get(at)) {
            return Some(Bottleneck::Stage(Arc::clone(&stage.name)));
        }
        let starved_of_bytes = shares.iter().rposition(|shares| shares.blocked_on_budget > 0.5)?;
        self.stages.get(starved_of_bytes).map(|stage| Bottleneck::Budget(Arc::clone(&stage.name)))
    }
}
