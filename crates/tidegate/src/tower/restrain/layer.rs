//! [`RestrainLayer`]: what is to be done.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tower_layer::Layer;

use crate::tower::chance::Chance;
use crate::tower::pushback::HearErrors;
use crate::tower::refusal::AsError;

use super::ledger::Ledger;
use super::service::Restrain;

/// Both from the SRE book (see [`RestrainLayer`]): long enough for a share to be a share, and twice as much as is accepted,
/// so that a server which recovers is noticed soon.
const WINDOW: Duration = Duration::from_secs(120);
const K: f64 = 2.0;
/// What a server that accepts nothing is asked all the same: a call a second from each client costs it nothing, and the
/// formula alone leaves one in two minutes however much there is to do.
const PROBE: Duration = Duration::from_secs(1);

/// Refuses a share of the calls here while the server refuses most of what it is asked, before it has to: see
/// [`Restrain`].
///
/// Clones, and the services they make, share one account.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use tidegate::Refused;
/// use tidegate::tower::{BoxError, RestrainLayer};
/// use tower::{Layer, ServiceExt};
///
/// let down = tower::service_fn(|_: u32| async { Err::<u32, BoxError>("down".into()) });
/// let layer = RestrainLayer::new();
/// let service = layer.layer(down);
/// let mut refused = 0;
/// for n in 0..100 {
///     let error = service.clone().oneshot(n).await.unwrap_err();
///     refused += u32::from(Refused::find(&*error).is_some());
/// }
/// assert!(refused > 80, "the server was spared {refused} of 100");
/// assert!(layer.share() > 0.9);
/// # });
/// ```
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RestrainLayer<H = HearErrors, R = AsError> {
    pub(super) hear: H,
    pub(super) refusal: R,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) k: f64,
    pub(super) probe: Duration,
    pub(super) chance: Arc<Chance>,
    pub(super) name: Arc<str>,
}

impl RestrainLayer {
    /// Requests and accepts over two minutes, K = 2.
    pub fn new() -> Self {
        Self {
            hear: HearErrors,
            refusal: AsError,
            ledger: Arc::new(Mutex::new(Ledger::new(WINDOW))),
            k: K,
            probe: PROBE,
            chance: Arc::new(Chance::drawn()),
            name: "restrain".into(),
        }
    }
}

impl Default for RestrainLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<H, R> RestrainLayer<H, R> {
    /// Who reads whether an answer was accepted ([`Hear`](crate::tower::Hear)); [`HearErrors`] by default.
    pub fn hear<H2>(self, hear: H2) -> RestrainLayer<H2, R> {
        let Self { refusal, ledger, k, probe, chance, name, .. } = self;
        RestrainLayer { hear, refusal, ledger, k, probe, chance, name }
    }

    /// What becomes of a call that is refused here ([`OnRefusal`](crate::tower::OnRefusal)).
    pub fn on_refusal<R2>(self, refusal: R2) -> RestrainLayer<H, R2> {
        let Self { hear, ledger, k, probe, chance, name, .. } = self;
        RestrainLayer { hear, refusal, ledger, k, probe, chance, name }
    }

    /// How many times what it accepts the server is asked for, 2 by default. Taken as at least 1: less would press an
    /// idle server's clients down to nothing.
    pub fn k(mut self, k: f64) -> Self {
        self.k = k.max(1.0);
        self
    }

    /// How far back is counted, 2 minutes by default. Begins a new account.
    pub fn window(mut self, window: Duration) -> Self {
        self.ledger = Arc::new(Mutex::new(Ledger::new(window)));
        self
    }

    /// One call goes through when none has for so long, 1 s by default.
    pub fn probe_every(mut self, probe: Duration) -> Self {
        self.probe = probe;
        self
    }

    /// The same choices in each run, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.chance = Arc::new(Chance::seeded(seed));
        self
    }

    /// The name in refusals, `restrain` by default.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The share of calls that is refused here now.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.with_ledger(|ledger, now| ledger.share(now, self.k))
    }

    pub(super) fn with_ledger<T>(&self, act: impl FnOnce(&mut Ledger, Instant) -> T) -> T {
        let now = Instant::now();
        act(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Decides on a call; what is refused is entered at once.
    pub(super) fn passes(&self) -> bool {
        let chance = self.chance.next();
        self.with_ledger(|ledger, now| {
            let passes = ledger.passes(now, self.k, self.probe, chance);
            if !passes {
                ledger.add(now, false);
            }
            passes
        })
    }
}

impl<H: Clone, R: Clone> Clone for RestrainLayer<H, R> {
    fn clone(&self) -> Self {
        let Self { hear, refusal, ledger, k, probe, chance, name } = self;
        Self {
            hear: hear.clone(),
            refusal: refusal.clone(),
            ledger: Arc::clone(ledger),
            k: *k,
            probe: *probe,
            chance: Arc::clone(chance),
            name: Arc::clone(name),
        }
    }
}

impl<H, R> fmt::Debug for RestrainLayer<H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestrainLayer").field("share", &self.share()).finish_non_exhaustive()
    }
}

impl<S, H: Clone, R: Clone> Layer<S> for RestrainLayer<H, R> {
    type Service = Restrain<S, H, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Restrain { inner, with: self.clone() }
    }
}
