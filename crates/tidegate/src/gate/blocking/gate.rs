//! [`Blocking`]: work that blocks its thread, and how much of it at once.

use std::sync::Arc;

use tidegate_control::sample::Outcome;
use tokio::runtime::Handle;

use crate::demand::Demand;
use crate::limiter::Limiter;
use crate::readiness::{AskReady, Readiness};

use super::budget::Budget;
use super::crew::Crew;
use super::failure::BlockingError;
use super::piece::Piece;
use super::run::Run;

/// Runs work that blocks its thread: so much at once, so much waiting, so many bytes in both.
///
/// The limiter says how many threads work at once (a unit each, for work of weight one), who waits how long, and who is
/// next. Work runs on the blocking threads of the tokio runtime it is awaited on; keep the limit below that
/// runtime's `max_blocking_threads` (512), because while work waits its threads do not go back to the runtime, and other
/// uses of `spawn_blocking` would find none.
///
/// With an [adaptive](Limiter::adaptive) limiter the number of threads finds itself: call its
/// [`tick`](Limiter::tick) every 10 ms or so.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::Limiter;
/// use tidegate::gate::Blocking;
///
/// let blocking = Blocking::new(Limiter::builder().name("hash").limit(4).build()?);
/// let sum = blocking.run(1, || (1..=100).sum::<u64>()).await?;
/// assert_eq!(sum, 5050);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// Work holds its permit in the name of whoever asked, also after that has left: with
/// [`one_permit_per_holder`](crate::LimiterBuilder::one_permit_per_holder) it can ask again when the work is done.
///
/// **When full**, callers wait as the limiter's queue allows, and are refused beyond that. **Shutdown:** a runtime that
/// ends drops the callers that wait on it, and waits for the work that runs, as it does for `spawn_blocking`. To end
/// in order, [drain](Limiter::drain) the limiter first.
#[derive(Clone, Debug)]
pub struct Blocking {
    limiter: Limiter,
    budget: Arc<Budget>,
    crew: Arc<Crew>,
}

impl Blocking {
    /// The bytes that work holds by default: 64 MiB, as much as the gateway keeps of waiting requests; little
    /// beside the stacks of the threads that a program without a bound would start.
    pub const DEFAULT_MAX_BYTES: u64 = 64 << 20;

    /// As many threads at once as `limiter` admits, and [`DEFAULT_MAX_BYTES`](Self::DEFAULT_MAX_BYTES).
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        let budget = Arc::new(Budget::new(limiter.name(), Self::DEFAULT_MAX_BYTES, limiter.queue()));
        Self { limiter, budget, crew: Arc::default() }
    }

    /// At most `bytes` (moved into 1..2⁶⁰) are held by work that runs or waits for a thread, as far as it
    /// [says](Work::bytes) what it holds. Work that finds none waits for them first, in a queue like the limiter's, in
    /// which as many bytes may wait again. To be set before it is cloned.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        let budget = Arc::new(Budget::new(self.limiter.name(), bytes, self.limiter.queue()));
        Self { budget, ..self }
    }

    /// Who decides how many threads work, and who waits: to be asked, and to set the limit.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Who decides about the bytes; its units are bytes.
    #[must_use]
    pub fn bytes(&self) -> &Limiter {
        self.budget.limiter()
    }

    /// Bytes that callers wait for, at most as many as there are.
    #[must_use]
    pub fn bytes_waited_for(&self) -> u64 {
        self.budget.waiting()
    }

    /// Runs `work` on a thread of its own once there is one for it, and reports its end as success.
    ///
    /// **Cancel safety:** dropped before the work began, it leaves the queue at once and the work is not
    /// done; dropped later, the work goes on to its end, holding its permit and its bytes, and its result is dropped.
    ///
    /// # Errors
    /// [`Refused`](BlockingError::Refused) **when full**; [`Panicked`](BlockingError::Panicked) if the work did;
    /// [`Stopped`](BlockingError::Stopped) without a runtime, or in one that ends.
    ///
    /// # Panics
    /// As `spawn_blocking` does, if the system refuses the runtime's first blocking thread.
    pub async fn run<T, F>(&self, demand: impl Into<Demand>, work: F) -> Result<T, BlockingError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.work(demand).run(work).await
    }

    /// Work about which there is more to say.
    pub fn work(&self, demand: impl Into<Demand>) -> Work<'_> {
        Work { gate: self, demand: demand.into(), bytes: 0 }
    }
}

impl AskReady for Blocking {
    fn readiness(&self) -> Readiness {
        self.limiter.readiness().worst(self.bytes().readiness())
    }

    fn readiness_for(&self, demand: &Demand) -> Readiness {
        self.limiter.readiness_for(demand).worst(self.bytes().readiness())
    }
}

/// A piece of work to be described and run; made by [`Blocking::work`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use tidegate::{Limiter, Outcome};
/// # use tidegate::gate::Blocking;
/// let blocking = Blocking::new(Limiter::fixed(2)).max_bytes(1 << 20);
/// let data = vec![7_u8; 4096];
/// let work = blocking.work(1).bytes(data.len() as u64);
/// let even = work.run_judged(move || data.len() % 2 == 0, |_| Outcome::Success).await?;
/// assert!(even);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "work is done by `run`"]
pub struct Work<'g> {
    gate: &'g Blocking,
    demand: Demand,
    bytes: u64,
}

impl Work<'_> {
    /// The bytes it brings along, or makes room for: held from before it waits for a thread until its result is taken.
    /// 0 by default. More than there are at all are held alone, when nobody else holds any.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Runs it; see [`Blocking::run`]. **When full**, it waits for its bytes and then for a thread as long as the gate
    /// lets it, or is refused.
    ///
    /// **Cancel safety:** dropped before the work began, it leaves at once and the work is not done; dropped later, the
    /// work goes on to its end.
    ///
    /// # Errors
    /// Those of [`Blocking::run`]; [`Memory`](crate::Reason::Memory) is the reason if there are no bytes for it and no
    /// place to wait for them.
    pub async fn run<T, F>(self, work: F) -> Result<T, BlockingError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run_judged(work, |_| Outcome::Success).await
    }

    /// Runs it and reports the outcome that `judge` sees in its result. A panic in `judge` is one in the work.
    /// **When full** and when cancelled, it is as [`run`](Self::run) says.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub async fn run_judged<T, F, J>(self, work: F, judge: J) -> Result<T, BlockingError>
    where
        F: FnOnce() -> T + Send + 'static,
        J: FnOnce(&T) -> Outcome + Send + 'static,
        T: Send + 'static,
    {
        let Ok(runtime) = Handle::try_current() else { return Err(BlockingError::Stopped) };
        let Self { gate, mut demand, bytes } = self;
        let bytes = match bytes {
            0 => None,
            bytes => {
                let longest = gate.limiter.longest_wait(&demand);
                let charged = gate.budget.charge(bytes, &demand).await?;
                // Two waits, one bound.
                if !charged.waited().is_zero() {
                    demand.max_wait = Some(longest.saturating_sub(charged.waited()));
                }
                Some(charged.on_drop(Outcome::Success))
            }
        };
        let work = move || {
            let result = work();
            let outcome = judge(&result);
            (result, outcome)
        };
        let permit = gate.limiter.acquire(demand);
        Run { piece: Piece::new(permit, work, bytes, Arc::clone(&gate.crew), runtime) }.await
    }
}
