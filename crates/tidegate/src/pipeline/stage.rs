//! [`Stage`]: what a pipeline's stage is called, how much it does at once, and what happens when it cannot.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::Sender;

use super::failed::DeadLetter;
use super::retry::Retry;

/// How a stage works; `T` is what it takes in, and is inferred.
///
/// ```
/// use std::time::Duration;
/// use tidegate::pipeline::{Retry, Stage};
///
/// let stage: Stage<String> = Stage::new("fetch")
///     .concurrency(64)
///     .max_item(1 << 20)
///     .in_bytes(8 << 20)
///     .retry(Retry::default())
///     .skip_failed();
/// # let _ = stage;
/// ```
#[must_use]
pub struct Stage<T> {
    pub(super) name: Arc<str>,
    pub(super) concurrency: usize,
    pub(super) ordered: bool,
    pub(super) max_item: u64,
    pub(super) in_bytes: Option<u64>,
    pub(super) linger: Option<Duration>,
    pub(super) retry: Option<Retry>,
    pub(super) otherwise: Otherwise<T>,
    takes: PhantomData<fn(T)>,
}

/// What becomes of an item that failed for good.
pub(super) enum Otherwise<T> {
    Fail,
    Skip,
    DeadLetter(Sender<DeadLetter<T>>),
}

impl<T> Stage<T> {
    /// The largest item that a stage puts out, unless it says otherwise: 64 KiB, a usual read.
    pub const DEFAULT_MAX_ITEM: u64 = 64 << 10;

    /// The most items that a stage works on at a time: each takes a task.
    pub const MAX_CONCURRENCY: usize = 1 << 16;

    /// One at a time; what fails fails the pipeline. The name is for snapshots and errors.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            concurrency: 1,
            ordered: false,
            max_item: Self::DEFAULT_MAX_ITEM,
            in_bytes: None,
            linger: None,
            retry: None,
            otherwise: Otherwise::Fail,
            takes: PhantomData,
        }
    }

    /// So many items at a time, each in a task of its own; 1 by default, at most
    /// [`MAX_CONCURRENCY`](Self::MAX_CONCURRENCY).
    pub fn concurrency(self, items: usize) -> Self {
        Self { concurrency: items.min(Self::MAX_CONCURRENCY), ..self }
    }

    /// What comes out is in the order of what went in. An item that is done before its turn waits, in the place of
    /// one of those that are worked on at a time; so no more is ever held for the order than
    /// [`concurrency`](Self::concurrency) items.
    pub fn ordered(self) -> Self {
        Self { ordered: true, ..self }
    }

    /// What comes out comes as it is done; the default.
    pub fn unordered(self) -> Self {
        Self { ordered: false, ..self }
    }

    /// The bytes of the largest item that comes out of this stage, as it [weighs](crate::channel::Weigh);
    /// [`DEFAULT_MAX_ITEM`](Self::DEFAULT_MAX_ITEM) unless given. For a batch: of the largest batch. So many are kept
    /// free for this stage whatever the others hold, and so many are taken before its function is called: what it
    /// makes must not be larger.
    pub fn max_item(self, bytes: u64) -> Self {
        Self { max_item: bytes, ..self }
    }

    /// Bytes that this stage's input may hold: what is being made for it, what waits before it, and what its function
    /// works on. By default as many of the largest items as the stage before makes at a time, and
    /// [1.1](super::SATURATION) for each that this one works on.
    pub fn in_bytes(self, bytes: u64) -> Self {
        Self { in_bytes: Some(bytes), ..self }
    }

    /// A batch, or a fold, is handed on after this time, counted from its first item, even if it is not full. Without it, it
    /// waits until it is, or until nothing more comes.
    pub fn linger(self, time: Duration) -> Self {
        Self { linger: Some(time), ..self }
    }

    /// An item of a `map`, `expand` or sink that failed and was [given back](super::Failed::give_back) is tried again. If it fails for good, what
    /// happens is what happens without this.
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }

    /// An item that fails fails the pipeline; the default.
    pub fn fail(self) -> Self {
        Self { otherwise: Otherwise::Fail, ..self }
    }

    /// An item that fails is dropped, and counted.
    pub fn skip_failed(self) -> Self {
        Self { otherwise: Otherwise::Skip, ..self }
    }

    /// An item that fails is sent on, with the error. While that channel is full its stage waits, or what the
    /// channel's policy says happens to the letter; what that pushes out is counted
    /// ([`letters_lost`](super::Ledger::letters_lost)). If the channel refuses it or is closed, or the function did not
    /// [give the item back](super::Failed::give_back), the pipeline fails.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use tidegate::channel::bounded;
    /// use tidegate::pipeline::{Failed, Pipeline, Stage};
    ///
    /// let (dead, mut letters) = bounded(1 << 20);
    /// let plan = Pipeline::from_iter(Stage::new("lines"), ["1", "two", "3"])
    ///     .map(Stage::new("parse").dead_letters(dead), |line| async move {
    ///         line.parse::<u64>().map_err(|error| Failed::give_back(line, error))
    ///     })
    ///     .sink(Stage::new("sink"), |_number| async { Ok(()) });
    /// assert_eq!(plan.run()?.finish().await?.delivered(), 2);
    /// let letter = letters.recv().await.unwrap();
    /// assert_eq!((letter.item, &*letter.stage), ("two", "parse"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn dead_letters(self, to: Sender<DeadLetter<T>>) -> Self {
        Self { otherwise: Otherwise::DeadLetter(to), ..self }
    }
}

impl<T> fmt::Debug for Stage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("name", &self.name)
            .field("concurrency", &self.concurrency)
            .field("ordered", &self.ordered)
            .field("max_item", &self.max_item)
            .field("in_bytes", &self.in_bytes)
            .finish_non_exhaustive()
    }
}
