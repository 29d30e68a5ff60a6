//! [`PushbackLayer`]: what is to be done.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tower_layer::Layer;

use crate::tower::refusal::AsError;

use super::force::Forces;
use super::key::OneForAll;
use super::service::Held;

/// The longest time that one word of a server holds its clients back. Asking again every five minutes costs a server
/// nothing, and five minutes are what one wrong word (a clock that is off, a replica in trouble) can cost its clients.
const LONGEST: Duration = Duration::from_secs(300);
/// Origins whose pushback is kept: more than most programs call, in about 100 KiB.
const MOST_KEYS: usize = 1024;

/// While a server's "not now" is in force, calls to it are refused here, at once, with the time that is left: see
/// [`Held`].
///
/// Clones, and the services they make, share what they heard.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::time::Duration;
/// use tidegate::tower::{BoxError, Pushback, PushbackLayer};
/// use tidegate::{Reason, Refused};
/// use tower::{Layer, ServiceExt};
///
/// // A server that says how many seconds it wants to be left alone.
/// let server = tower::service_fn(|request: u64| async move { Ok::<u64, BoxError>(request) });
/// let service = PushbackLayer::new(|answer: Result<&u64, &BoxError>| match answer {
///     Ok(&seconds) if seconds > 0 => Pushback::refused(Reason::QueueFull).after(Duration::from_secs(seconds)),
///     _ => Pushback::NONE,
/// })
/// .layer(server);
/// assert_eq!(service.clone().oneshot(3).await.unwrap(), 3);
/// tokio::time::sleep(Duration::from_secs(1)).await;
/// let error = service.clone().oneshot(0).await.unwrap_err();
/// assert_eq!(Refused::find(&*error).unwrap().retry_after(), Some(Duration::from_secs(2)));
/// tokio::time::sleep(Duration::from_secs(2)).await;
/// assert_eq!(service.oneshot(0).await.unwrap(), 0);
/// # });
/// ```
#[must_use = "a layer does nothing until it is put around a service"]
pub struct PushbackLayer<H, K = OneForAll, Q = (), R = AsError> {
    pub(super) hear: H,
    pub(super) key: K,
    pub(super) forces: Arc<Forces<Q>>,
    pub(super) refusal: R,
    pub(super) longest: Duration,
    pub(super) most: usize,
    pub(super) name: Arc<str>,
}

impl<H> PushbackLayer<H> {
    /// One pushback for all requests; `hear` reads what an answer says ([`Hear`](super::Hear)).
    pub fn new(hear: H) -> Self {
        Self {
            hear,
            key: OneForAll,
            forces: Arc::default(),
            refusal: AsError,
            longest: LONGEST,
            most: MOST_KEYS,
            name: "pushback".into(),
        }
    }
}

impl<H, K, Q, R> PushbackLayer<H, K, Q, R> {
    /// Keeps pushback apart by what `key` reads from a request ([`KeyOf`](super::KeyOf)), with nothing in force yet.
    pub fn by<K2, Q2>(self, key: K2) -> PushbackLayer<H, K2, Q2, R> {
        let Self { hear, refusal, longest, most, name, .. } = self;
        PushbackLayer { hear, key, forces: Arc::default(), refusal, longest, most, name }
    }

    /// What becomes of a call that is refused here ([`OnRefusal`](crate::tower::OnRefusal)).
    pub fn on_refusal<R2>(self, refusal: R2) -> PushbackLayer<H, K, Q, R2> {
        let Self { hear, key, forces, longest, most, name, .. } = self;
        PushbackLayer { hear, key, forces, refusal, longest, most, name }
    }

    /// The longest time that one word of a server is in force, 5 minutes by default.
    pub fn longest(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// How many keys are kept, 1024 by default. **When full** of pushback that is in force, what lapses first makes room;
    /// its origin is then asked once more before it is held back again.
    pub fn most_keys(mut self, most: usize) -> Self {
        self.most = most.max(1);
        self
    }

    /// The name in refusals, `pushback` by default.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }
}

impl<H, K, Q: Hash + Eq, R> PushbackLayer<H, K, Q, R> {
    /// How long calls to `key` are still refused here; `None` if they are not.
    #[must_use]
    pub fn left(&self, key: &Q) -> Option<Duration> {
        self.forces.left(key, Instant::now())
    }

    /// How many keys are kept, some of which may have lapsed.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.forces.len()
    }
}

impl<H: Clone, K: Clone, Q, R: Clone> Clone for PushbackLayer<H, K, Q, R> {
    fn clone(&self) -> Self {
        let Self { hear, key, forces, refusal, longest, most, name } = self;
        Self {
            hear: hear.clone(),
            key: key.clone(),
            forces: Arc::clone(forces),
            refusal: refusal.clone(),
            longest: *longest,
            most: *most,
            name: Arc::clone(name),
        }
    }
}

impl<H, K, Q, R> fmt::Debug for PushbackLayer<H, K, Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushbackLayer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S, H: Clone, K: Clone, Q, R: Clone> Layer<S> for PushbackLayer<H, K, Q, R> {
    type Service = Held<S, H, K, Q, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Held { inner, with: self.clone() }
    }
}
