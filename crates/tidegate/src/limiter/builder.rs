//! How a limiter is made.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tidegate_control::limit::{Fixed, LimitAlgorithm};

use super::free::MAX_UNITS;
use super::limiter::Limiter;

/// The bounds of the wait: how many callers, how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    pub(crate) capacity: usize,
    pub(crate) max_wait: Duration,
}

impl QueueConfig {
    /// The longest anybody waits unless told otherwise: 5 s, half of the common client timeout of 10 s.
    pub const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(5);

    /// At most `capacity` callers wait. When full, a newcomer displaces the newest waiter of a lower class or
    /// is refused with [`Reason::QueueFull`](crate::Reason::QueueFull).
    #[must_use]
    pub const fn bounded(capacity: u32) -> Self {
        Self { capacity: capacity as usize, max_wait: Self::DEFAULT_MAX_WAIT }
    }

    /// Nobody waits: a caller is admitted at once or refused.
    #[must_use]
    pub const fn none() -> Self {
        Self::bounded(0)
    }

    /// Nobody waits longer than this; whoever is predicted to is refused at once.
    #[must_use]
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }
}

impl Default for QueueConfig {
    /// 1024 callers (a second of waiting at a thousand a second), 5 s.
    fn default() -> Self {
        Self::bounded(1024)
    }
}

/// Builds a [`Limiter`].
///
/// ```
/// use tidegate::{Limiter, QueueConfig};
///
/// let limiter = Limiter::builder().name("database").limit(50).queue(QueueConfig::bounded(100)).build()?;
/// # Ok::<(), tidegate::ConfigError>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct LimiterBuilder {
    pub(crate) name: Cow<'static, str>,
    pub(crate) limit: u64,
    pub(crate) algorithm: Option<Box<dyn LimitAlgorithm>>,
    pub(crate) queue: QueueConfig,
    pub(crate) track: bool,
}

impl LimiterBuilder {
    pub(crate) fn new() -> Self {
        Self {
            name: Cow::Borrowed("limiter"),
            limit: 0,
            algorithm: None,
            queue: QueueConfig::default(),
            track: false,
        }
    }

    /// The name shown in refusals.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// A fixed limit of `units`.
    pub fn limit(mut self, units: u64) -> Self {
        self.limit = units;
        self.algorithm = None;
        self
    }

    /// A limit that `algorithm` finds.
    pub fn algorithm(mut self, algorithm: impl LimitAlgorithm) -> Self {
        self.limit = algorithm.limit();
        self.algorithm = Some(Box::new(algorithm));
        self
    }

    /// The bounds of the wait.
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Remember who holds capacity, for [`Limiter::holders`]. Costs a lock on each admission.
    pub fn track_occupants(mut self, yes: bool) -> Self {
        self.track = yes;
        self
    }

    /// Makes the limiter.
    ///
    /// # Errors
    /// If neither a limit nor an algorithm was given, or the limit is above 2⁴⁰.
    pub fn build(self) -> Result<Limiter, ConfigError> {
        match self.limit {
            0 => Err(ConfigError("the limit is 0 or missing: call `limit(n)` with n ≥ 1, or `algorithm(…)`")),
            limit if limit > MAX_UNITS => {
                Err(ConfigError("the limit is above 2^40 units: count in larger units"))
            }
            _ => Ok(Limiter::from_builder(self)),
        }
    }

    /// As [`build`](Self::build), with a limit moved into range.
    pub(crate) fn build_in_range(mut self) -> Limiter {
        self.limit = self.limit.clamp(1, MAX_UNITS);
        Limiter::from_builder(self)
    }

    pub(crate) fn algorithm_or_fixed(&mut self) -> (Box<dyn LimitAlgorithm>, bool) {
        match self.algorithm.take() {
            Some(algorithm) => (algorithm, true),
            None => (Box::new(Fixed::new(self.limit)), false),
        }
    }
}

impl fmt::Debug for LimiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimiterBuilder")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("adaptive", &self.algorithm.is_some())
            .field("queue", &self.queue)
            .field("track_occupants", &self.track)
            .finish()
    }
}

/// A limiter cannot be made as asked; the message says what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError(&'static str);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ConfigError {}
