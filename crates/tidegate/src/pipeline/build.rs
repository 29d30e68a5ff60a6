//! [`Pipeline`]: stage after stage, until there is a sink.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use crate::channel::Weigh;

use super::accounts::{Kind, Spec};
use super::batch::Batch;
use super::blocking::Block;
use super::care::Care;
use super::each::{Attempt, each};
use super::expand::{Expand, Outlet};
use super::failed::Failed;
use super::gather::{Batches, Folds, Gather, Until, gather};
use super::line::{Inlet, Line, Waiting};
use super::map::{Map, Sink};
use super::plan::Plan;
use super::source::{Calls, Iter, Source, source};
use super::stage::Stage;
use super::unheard::unheard;
use super::worker::{Worker, largest};

/// A task that has not begun.
pub(super) type Launch = Box<dyn FnOnce(Worker) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The tasks of the last stage, as soon as it is known where they put what they make.
type Feed<T> = Box<dyn FnOnce(&Arc<Line<T>>) -> Vec<Launch> + Send>;

/// What is known of the stages so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) specs: Vec<Spec>,
    /// The tasks of each stage.
    pub(super) tasks: Vec<Vec<Launch>>,
    /// What is before each stage but the first.
    pub(super) lines: Vec<Arc<dyn Waiting>>,
}

/// A pipeline that is being put together, out of which `T` comes so far. Nothing begins before [`Plan::run`].
///
/// Types are inferred from stage to stage. Functions are called in tasks of their own, and return [`Failed`] when they
/// fail, which any error becomes with `?`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::pipeline::{Pipeline, Stage};
///
/// let plan = Pipeline::from_iter(Stage::new("numbers"), ["1", "2", "3"])
///     .map(Stage::new("parse").concurrency(4).ordered(), |text| async move {
///         Ok(text.parse::<u64>()?)
///     })
///     .sink(Stage::new("print"), |number| async move { Ok(println!("{number}")) });
/// let snapshot = plan.run()?.finish().await?;
/// assert_eq!((snapshot.asked(), snapshot.delivered()), (3, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use = "a pipeline needs a sink, and does nothing before it is run"]
pub struct Pipeline<T> {
    draft: Draft,
    feed: Feed<T>,
}

impl<T: Weigh + Send + 'static> Pipeline<T> {
    /// Items from a [`Source`]. Of the stage, the name and [`max_item`](Stage::max_item) say something of a source.
    pub fn source<S: Source<Item = T>>(stage: Stage<()>, from: S) -> Self {
        let (max_item, mut draft) = (stage.max_item, Draft::default());
        draft.specs.push(spec(&stage, Kind::Source));
        let feed: Feed<T> = Box::new(move |line| {
            let inlet = Inlet::first(line);
            vec![Box::new(move |worker| Box::pin(source(worker, from, inlet, max_item)))]
        });
        Self { draft, feed }
    }

    /// The items of an iterator, which is asked for one when there is room for it.
    pub fn from_iter<I>(stage: Stage<()>, items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        Self::source(stage, Iter(items.into_iter()))
    }

    /// The items that a function gives, one for each call, until it gives `None`.
    pub fn from_fn<F, Fut>(stage: Stage<()>, function: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<T>, Box<dyn Error + Send + Sync + 'static>>> + Send + 'static,
    {
        Self::source(stage, Calls(function))
    }

    /// A stage that makes one item of each.
    ///
    /// Its function is called when there is room for the largest item it may make ([`max_item`](Stage::max_item)).
    pub fn map<U, F, Fut>(self, stage: Stage<T>, function: F) -> Pipeline<U>
    where
        U: Weigh + Send + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<U, Failed<T>>> + Send + 'static,
    {
        let (function, max_item) = (Arc::new(function), stage.max_item);
        self.each(stage, move |inlet| Map { function: Arc::clone(&function), inlet, max_item })
    }

    /// A stage that makes any number of items of each, for each of which it waits until there is
    /// [room](Outlet::reserve).
    pub fn expand<U, F, Fut>(self, stage: Stage<T>, function: F) -> Pipeline<U>
    where
        U: Weigh + Send + 'static,
        F: Fn(T, Outlet<U>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failed<T>>> + Send + 'static,
    {
        let (function, max_item) = (Arc::new(function), stage.max_item);
        self.each(stage, move |inlet| Expand { function: Arc::clone(&function), inlet, max_item })
    }

    /// As [`map`](Self::map), for a function that blocks its thread: it is called on the runtime's blocking threads,
    /// on as many at a time as the stage's [`concurrency`](Stage::concurrency). Once begun it cannot be interrupted:
    /// what it works on stays held, and the pipeline has not ended, until it returns.
    pub fn map_blocking<U, F>(self, stage: Stage<T>, function: F) -> Pipeline<U>
    where
        U: Weigh + Send + 'static,
        F: Fn(T) -> Result<U, Failed<T>> + Send + Sync + 'static,
    {
        let (function, max_item) = (Arc::new(function), stage.max_item);
        self.each(stage, move |inlet| Block { function: Arc::clone(&function), inlet, max_item })
    }

    /// A stage that puts up to `items` items (at least one) side by side, as long as they are no more than
    /// [`max_item`](Stage::max_item) bytes together. See [`linger`](Stage::linger) for batches that do not get full.
    /// One at a time.
    pub fn batch(self, stage: Stage<T>, items: usize) -> Pipeline<Batch<T>> {
        let most = largest(stage.max_item);
        self.gather(stage, Kind::Batch, items, move || Batches { most, items: PhantomData })
    }

    /// A stage that works up to `items` items (at least one) into one, in the order in which they come: its function is called with
    /// what it made of those before, `None` for the first. A function that fails fails the pipeline.
    ///
    /// Where a [batch](Self::batch) holds all its items, this holds one: reducing ten chunks of a megabyte takes two.
    pub fn fold<A, F, Fut>(self, stage: Stage<T>, items: usize, function: F) -> Pipeline<A>
    where
        A: Weigh + Send + 'static,
        F: Fn(Option<A>, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, Failed<T>>> + Send + 'static,
    {
        let function = Arc::new(function);
        let folds = move || Folds { function: Arc::clone(&function), whole: PhantomData };
        self.gather(stage, Kind::Fold, items, folds)
    }

    /// The end: a function that is called with each item.
    pub fn sink<F, Fut>(self, stage: Stage<T>, function: F) -> Plan
    where
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failed<T>>> + Send + 'static,
    {
        let function = Arc::new(function);
        let (line, mut draft) = self.meet(&stage, Kind::Sink);
        let care = Care::new(stage.retry, stage.otherwise);
        draft.tasks.push(launches(stage.concurrency, || {
            let (line, care, sink) =
                (Arc::clone(&line), Arc::clone(&care), Sink { function: Arc::clone(&function) });
            Box::new(move |worker| Box::pin(each(worker, line, care, sink)))
        }));
        Plan::new(draft)
    }

    fn each<U, A>(self, stage: Stage<T>, make: impl Fn(Inlet<U>) -> A + Send + 'static) -> Pipeline<U>
    where
        U: Weigh + Send + 'static,
        A: Attempt<T> + Sync + 'static,
    {
        let (line, draft) = self.meet(&stage, Kind::Each);
        let care = Care::new(stage.retry, stage.otherwise);
        let feed: Feed<U> = Box::new(move |next| {
            launches(stage.concurrency, || {
                let (line, care, attempt) = (Arc::clone(&line), Arc::clone(&care), make(Inlet::first(next)));
                Box::new(move |worker| Box::pin(each(worker, line, care, attempt)))
            })
        });
        Pipeline { draft, feed }
    }

    fn gather<G>(
        self,
        stage: Stage<T>,
        kind: Kind,
        items: usize,
        make: impl Fn() -> G + Send + 'static,
    ) -> Pipeline<G::Whole>
    where
        G: Gather<T> + Sync + 'static,
    {
        let (line, draft) = self.meet(&stage, kind);
        let until = Until { items, max_item: stage.max_item, linger: stage.linger };
        let feed: Feed<G::Whole> = Box::new(move |next| {
            launches(stage.concurrency, || {
                let (line, inlet, whole) = (Arc::clone(&line), Inlet::first(next), make());
                Box::new(move |worker| Box::pin(gather(worker, line, inlet, until, whole)))
            })
        });
        Pipeline { draft, feed }
    }

    /// The line before a new stage, fed by the last one.
    fn meet(self, stage: &Stage<T>, kind: Kind) -> (Arc<Line<T>>, Draft) {
        let Self { mut draft, feed } = self;
        let senders = draft.specs.last().map_or(0, |last| last.concurrency);
        let line = Line::new(stage.concurrency, senders);
        draft.tasks.push(feed(&line));
        draft.lines.push(Arc::clone(&line) as Arc<dyn Waiting>);
        draft.specs.push(spec(stage, kind));
        (line, draft)
    }
}

fn launches(workers: usize, make: impl Fn() -> Launch) -> Vec<Launch> {
    (0..workers).map(|_| make()).collect()
}

fn spec<T>(stage: &Stage<T>, kind: Kind) -> Spec {
    let Stage { concurrency, ordered, max_item, in_bytes, .. } = *stage;
    let unheard = unheard(stage, kind);
    Spec { name: Arc::clone(&stage.name), concurrency, ordered, max_item, in_bytes, kind, unheard }
}

impl<T> fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("stages", &self.draft.specs.len()).finish_non_exhaustive()
    }
}
