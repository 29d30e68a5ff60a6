//! Making a limiter.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use tidegate_control::limit::LimitAlgorithm;

use crate::clock::nanos;

use super::limiter::Limiter;
use super::shared::Shared;
use super::state::MAX_LIMIT;

/// How callers wait: bounded in number and in time.
///
/// **When full:** the newest caller of the lowest class below its own is displaced, else the newcomer is refused. **When cancelled:** a
/// caller that drops its ticket makes room at once.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    pub(super) capacity: usize,
    pub(super) max_wait: u64,
    pub(super) patience: u64,
}

impl QueueConfig {
    /// The longest wait by default: half of a common client timeout (10 s), so that the work can still be done
    /// in the other half.
    pub const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(5);

    /// Up to `capacity` callers wait. 1024 by default: more than any limit's worth of callers that are served within the longest
    /// wait, little memory (about 300 bytes each).
    #[must_use]
    pub fn bounded(capacity: u64) -> Self {
        Self { capacity: usize::try_from(capacity).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// Nobody waits: who is not admitted at once is refused.
    #[must_use]
    pub fn none() -> Self {
        Self::bounded(0)
    }

    /// The longest anybody waits; then the ticket resolves to `expired`.
    /// [`DEFAULT_MAX_WAIT`](Self::DEFAULT_MAX_WAIT) by default.
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = nanos(wait);
        self
    }

    /// When a client gives up, where a [`Demand`](crate::Demand::patience) does not say so: nobody waits for more
    /// than 0.4 of it, and whoever would is refused on arrival. Unknown by default.
    #[must_use]
    pub fn patience(mut self, timeout: Duration) -> Self {
        self.patience = nanos(timeout);
        self
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { capacity: 1024, max_wait: nanos(Self::DEFAULT_MAX_WAIT), patience: u64::MAX }
    }
}

/// A limiter, a gate or a channel cannot be made like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    message: &'static str,
}

impl ConfigError {
    #[cfg(feature = "stream")]
    pub(crate) const fn new(message: &'static str) -> Self {
        Self { message }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl Error for ConfigError {}

/// Makes a [`Limiter`].
///
/// ```
/// use tidegate::{Limiter, QueueConfig};
///
/// let limiter = Limiter::builder().name("db").limit(50).queue(QueueConfig::bounded(200)).build()?;
/// assert_eq!(limiter.name(), "db");
/// # Ok::<(), tidegate::ConfigError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct LimiterBuilder {
    pub(super) name: Cow<'static, str>,
    pub(super) limit: Option<u64>,
    pub(super) algorithm: Option<Box<dyn LimitAlgorithm>>,
    pub(super) queue: QueueConfig,
    pub(super) track_occupants: bool,
    pub(super) one_each: bool,
    pub(super) dry_run: bool,
}

impl LimiterBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: Cow::Borrowed("limiter"),
            limit: None,
            algorithm: None,
            queue: QueueConfig::default(),
            track_occupants: false,
            one_each: false,
            dry_run: false,
        }
    }

    /// The name in refusals, logs and metrics; `limiter` by default.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// A fixed limit in units.
    pub fn limit(mut self, units: u64) -> Self {
        self.limit = Some(units);
        self
    }

    /// A limit computed by `algorithm`.
    pub fn algorithm(mut self, algorithm: impl LimitAlgorithm) -> Self {
        self.algorithm = Some(Box::new(algorithm));
        self
    }

    /// How callers wait; [`QueueConfig::default`] by default.
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Keeps a list of holders for [`Limiter::holders`]. Off by default: every admission then takes a lock.
    pub fn track_occupants(mut self, yes: bool) -> Self {
        self.track_occupants = yes;
        self
    }

    /// Refuses a holder that holds a permit, or waits for one, already ([`AlreadyHeld`](crate::Reason::AlreadyHeld)):
    /// at a limit of one it would wait for itself for ever, at any other now and then. The holder is the one that
    /// the demand [names](crate::Demand::holder), else the tokio task that asks; outside of a task nobody is looked for.
    /// Off by default. It [tracks occupants](Self::track_occupants), and looks through those that wait at each
    /// admission while somebody does.
    pub fn one_permit_per_holder(mut self, yes: bool) -> Self {
        self.one_each = yes;
        self
    }

    /// Decides and counts ([`LimiterStats::would_refuse`](crate::LimiterStats)), but admits everybody at once, until it drains.
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// The limiter.
    ///
    /// # Errors
    /// If there is no limit and no algorithm, or both, if the limit is 0 or beyond 2⁶⁰ − 1, or if the longest wait
    /// is zero although there is a queue.
    pub fn build(self) -> Result<Limiter, ConfigError> {
        let fault = |message| Err(ConfigError { message });
        match (self.limit, &self.algorithm) {
            (None, None) => return fault("a limiter needs a limit or an algorithm"),
            (Some(_), Some(_)) => return fault("a limiter has a limit or an algorithm, not both"),
            (Some(0), None) => return fault("the limit is 0 and would admit nobody: give at least 1"),
            (Some(limit), None) if limit > MAX_LIMIT => {
                return fault("the limit is beyond 2^60 - 1: give less");
            }
            _ => {}
        }
        if self.queue.capacity > 0 && self.queue.max_wait == 0 {
            return fault("a queue in which nobody may wait: set max_wait, or use QueueConfig::none()");
        }
        Ok(Limiter::from_shared(Shared::new(self)))
    }
}

impl fmt::Debug for LimiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimiterBuilder")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
