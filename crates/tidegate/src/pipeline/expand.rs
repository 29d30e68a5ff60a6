//! Stages whose function makes any number of items of each.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::channel::Weigh;

use super::each::{Attempt, Attempted};
use super::error::TooLarge;
use super::failed::Failed;
use super::line::{Inlet, LEAST};
use super::room::Charge;
use super::worker::{Member, Papers, Worker, charge_of, largest};

/// Where an expanding stage puts what it makes, one after the other.
///
/// It belongs to one item. As long as it lives, the item counts as worked on: its bytes stay held, and in an
/// [ordered](super::Stage::ordered) stage its successors wait for their turn. So it is not to be kept longer than the
/// function runs.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::pipeline::{Pipeline, Stage};
///
/// let plan = Pipeline::from_iter(Stage::new("lines"), ["a b", "c"])
///     .expand(Stage::new("words"), |line, mut out| async move {
///         for word in line.split(' ') {
///             out.emit(word).await?; // waits for room
///         }
///         Ok(())
///     })
///     .sink(Stage::new("print"), |word| async move { Ok(println!("{word}")) });
/// let snapshot = plan.run()?.finish().await?;
/// assert_eq!(snapshot.delivered(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Outlet<U> {
    papers: Arc<Papers>,
    inlet: Inlet<U>,
    most: u64,
    emitted: Arc<AtomicBool>,
    /// The pipeline has not ended while this lives. Dropped last.
    _member: Member,
}

impl<U: Weigh + Send + 'static> Outlet<U> {
    /// Waits for room for an item of so many bytes, before it is made. One at a time, so that nobody holds some and
    /// waits for more: that is what pipelines get stuck on.
    ///
    /// **When full** (the next stage has no room, or the pipeline no bytes), it waits; what is further downstream
    /// gets room first. **When cancelled**, it waits no more, and nothing is held.
    ///
    /// # Errors
    /// [`TooLarge`] if it is more than the stage's [`max_item`](super::Stage::max_item).
    pub async fn reserve(&mut self, bytes: u64) -> Result<Room<'_, U>, TooLarge> {
        let bytes = bytes.max(LEAST);
        if bytes > self.most {
            return Err(TooLarge { bytes, most: self.most });
        }
        let charge = self.papers.room(bytes).await;
        Ok(Room { outlet: self, charge })
    }

    /// Hands an item on as soon as there is room for it, and in an ordered stage when it is its turn.
    ///
    /// It exists already while it waits; where that matters, [`reserve`](Self::reserve) before you make it. **When
    /// full**, it waits. **When cancelled**, the item is dropped, and nothing is held.
    ///
    /// # Errors
    /// [`TooLarge`] if it is more than the stage's [`max_item`](super::Stage::max_item).
    pub async fn emit(&mut self, item: U) -> Result<(), TooLarge> {
        let room = self.reserve(charge_of(&item)).await?;
        room.emit(item).await
    }
}

impl<U> fmt::Debug for Outlet<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("max_item", &self.most).finish_non_exhaustive()
    }
}

/// Room for one item. Dropped, it goes back.
#[must_use = "room that is not used goes back"]
pub struct Room<'o, U> {
    outlet: &'o mut Outlet<U>,
    charge: Charge,
}

impl<U: Weigh + Send + 'static> Room<'_, U> {
    /// Bytes that there is room for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.charge.bytes()
    }

    /// Hands an item on; what it needs less goes back. **When full** it does not wait: the room is here. In an
    /// ordered stage it waits for its turn. **When cancelled** meanwhile, the item is dropped and the room goes back.
    ///
    /// # Errors
    /// [`TooLarge`] if there is less room.
    pub async fn emit(self, item: U) -> Result<(), TooLarge> {
        let Self { outlet, charge } = self;
        outlet.papers.hand_on_part(charge, item, &outlet.inlet, false).await?;
        outlet.emitted.store(true, Relaxed);
        Ok(())
    }
}

impl<U> fmt::Debug for Room<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("bytes", &self.charge.bytes()).finish_non_exhaustive()
    }
}

/// Any number of each.
pub(super) struct Expand<F, U> {
    pub(super) function: Arc<F>,
    pub(super) inlet: Inlet<U>,
    pub(super) max_item: u64,
}

impl<T, U, F, Fut> Attempt<T> for Expand<F, U>
where
    T: Send + 'static,
    U: Weigh + Send + 'static,
    F: Fn(T, Outlet<U>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), Failed<T>>> + Send,
{
    async fn attempt(&self, worker: &Worker, item: T, papers: &Arc<Papers>) -> Attempted<T> {
        if papers.has_expired() {
            return Attempted::Expired;
        }
        let emitted = Arc::new(AtomicBool::new(false));
        let outlet = Outlet {
            papers: Arc::clone(papers),
            inlet: self.inlet.clone(),
            most: largest(self.max_item),
            emitted: Arc::clone(&emitted),
            _member: Member::new(&worker.engine),
        };
        match worker.call(papers, || (self.function)(item, outlet)).await {
            None => Attempted::Over,
            Some(Ok(())) => Attempted::Passed,
            Some(Err(failed)) if emitted.load(Relaxed) => Attempted::FailedHalfway(failed),
            Some(Err(failed)) => Attempted::Failed(failed),
        }
    }
}
