//! [`RetryLayer`]: what is to be done; whether and when to ask again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tower_layer::Layer;

use crate::tower::chance::Chance;
use crate::tower::pushback::{HearErrors, Pushback};

use super::budget::{RetryBudget, Withdrawal};
use super::service::Retry;

/// A request that failed three times has met more than bad luck (Beyer et al., "Site Reliability Engineering", ch. 21).
const ATTEMPTS: u32 = 3;
/// Above the round trip to most servers, and what gRPC's own examples begin with (gRFC A6).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Most callers' patience is not much longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Who was refused here and waits for at least so long costs neither the server nor this program anything; a shorter
/// moment, again and again, would be a busy loop.
const SHORTEST_FREE: Duration = Duration::from_millis(1);

/// Asks again where that is safe and may help, and tells the caller now when it cannot: see [`Retry`].
///
/// Clones, and the services they make, share one budget.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use std::time::Duration;
/// use tidegate::Reason;
/// use tidegate::tower::{BoxError, Pushback, RetryLayer};
/// use tower::{Layer, ServiceExt};
///
/// static ASKED: AtomicU32 = AtomicU32::new(0);
/// let server = tower::service_fn(|_: u32| async { Ok::<_, BoxError>(ASKED.fetch_add(1, Relaxed)) });
/// // The first answer says "in 2 s"; any later one is good.
/// let hear = |answer: Result<&u32, &BoxError>| match answer {
///     Ok(0) => Pushback::refused(Reason::QueueFull).after(Duration::from_secs(2)),
///     _ => Pushback::NONE,
/// };
/// let repeat = (|n: &u32| Some(*n), |_: &u32| true);
/// let begun = tokio::time::Instant::now();
/// let service = RetryLayer::new(Duration::from_secs(15), repeat).hear(hear).layer(server);
/// assert_eq!(service.oneshot(7).await.unwrap(), 1);
/// assert_eq!(begun.elapsed(), Duration::from_secs(2));
/// # });
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RetryLayer<P, H = HearErrors> {
    pub(super) patience: Duration,
    pub(super) repeat: P,
    pub(super) hear: H,
    pub(super) plan: Plan,
    pub(super) name: Arc<str>,
}

impl<P> RetryLayer<P> {
    /// A caller waits `patience` altogether, or as long as its request says if that is less; `repeat` knows how a request
    /// is repeated ([`Repeat`](super::Repeat)).
    pub fn new(patience: Duration, repeat: P) -> Self {
        let plan = Plan {
            attempts: ATTEMPTS,
            first: FIRST_PAUSE,
            longest: LONGEST_PAUSE,
            budget: RetryBudget::default(),
            chance: Arc::new(Chance::drawn()),
        };
        Self { patience, repeat, hear: HearErrors, plan, name: "retry".into() }
    }
}

impl<P, H> RetryLayer<P, H> {
    /// Who reads what an answer says ([`Hear`](crate::tower::Hear)); [`HearErrors`] by default.
    pub fn hear<H2>(self, hear: H2) -> RetryLayer<P, H2> {
        let Self { patience, repeat, plan, name, .. } = self;
        RetryLayer { patience, repeat, hear, plan, name }
    }

    /// Attempts a call at most, the first one among them; 3 by default. What a layer of this program refused before it
    /// reached the server is none; that may be tried until patience ends.
    pub fn attempts(mut self, most: u32) -> Self {
        self.plan.attempts = most;
        self
    }

    /// How many retries there may be beside the calls; a tenth of them and 10 by default.
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.plan.budget = budget;
        self
    }

    /// The pauses where the server named no moment: at random up to `first`, then up to twice that, and so on up to
    /// `longest`; 100 ms and 5 s by default.
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.plan.first = first;
        self.plan.longest = longest;
        self
    }

    /// The same pauses in each run, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.plan.chance = Arc::new(Chance::seeded(seed));
        self
    }

    /// The name in refusals, `retry` by default.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }
}

impl<P, H> fmt::Debug for RetryLayer<P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer")
            .field("patience", &self.patience)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl<S, P: Clone, H: Clone> Layer<S> for RetryLayer<P, H> {
    type Service = Retry<S, P, H>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry { inner, with: self.clone() }
    }
}

/// Whether and when to ask again.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    attempts: u32,
    first: Duration,
    longest: Duration,
    pub(super) budget: RetryBudget,
    chance: Arc<Chance>,
}

/// The next attempt.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) at: Instant,
    pub(super) invited: bool,
    /// `None`: the last attempt did not reach the server, so this is not one more.
    pub(super) withdrawal: Option<Withdrawal>,
}

impl Plan {
    /// What follows attempt `number`, answered now with `heard`; `None`: the answer is handed over.
    pub(super) fn again(
        &self,
        heard: &Pushback,
        idempotent: bool,
        number: u32,
        deadline: Instant,
    ) -> Option<Again> {
        let safe = idempotent || heard.is_unprocessed();
        if heard.is_accepted() || !heard.worth_retrying() || !safe {
            return None;
        }
        let pause = heard.moment().unwrap_or_else(|| self.pause(number));
        // At the deadline itself there is no time left for an answer.
        let at = Instant::now().checked_add(pause).filter(|&at| at < deadline)?;
        if heard.is_local() && heard.is_unprocessed() && pause >= SHORTEST_FREE {
            return Some(Again { at, invited: false, withdrawal: None });
        }
        if number >= self.attempts {
            return None;
        }
        let withdrawal = Some(self.budget.withdraw()?);
        let invited = heard.moment().is_some() && !heard.is_local();
        Some(Again { at, invited, withdrawal })
    }

    /// Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    fn pause(&self, number: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(number.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest).mul_f64(self.chance.next())
    }
}
