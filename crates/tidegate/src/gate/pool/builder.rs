//! Settings of a pool's gate.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::limiter::{ConfigError, Limiter, QueueConfig};

use super::gate::{Get, PoolGate, Size};

/// Makes a [`PoolGate`]; begun by [`PoolGate::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct PoolGateBuilder<C, E> {
    size: Size,
    get: Get<C, E>,
    name: Cow<'static, str>,
    queue: Option<QueueConfig>,
    gives_within: Duration,
}

impl<C, E> PoolGateBuilder<C, E> {
    /// How long the pool may take to give a connection, by default. There is one for whoever is admitted, so all that
    /// may take time is to open it: the two seconds have room for a first packet that is lost (it is sent again after
    /// one second, RFC 6298) and for the handshake.
    pub const DEFAULT_GIVES_WITHIN: Duration = Duration::from_secs(2);

    pub(super) fn new(size: Size, get: Get<C, E>) -> Self {
        let gives_within = Self::DEFAULT_GIVES_WITHIN;
        Self { size, get, name: Cow::Borrowed("pool"), queue: None, gives_within }
    }

    /// The name in refusals, logs and metrics; `pool` by default.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// How callers wait. By default as many may wait as there are connections, so that the longest wait is about as
    /// long as one of them is held, and no more than [`QueueConfig::DEFAULT_MAX_WAIT`].
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.queue = Some(queue);
        self
    }

    /// How long the pool may take to give a connection to a caller that was admitted;
    /// [`DEFAULT_GIVES_WITHIN`](Self::DEFAULT_GIVES_WITHIN) by default. Then the caller is refused with
    /// [`OriginTimeout`](crate::Reason::OriginTimeout).
    pub fn gives_within(mut self, time: Duration) -> Self {
        self.gives_within = time;
        self
    }

    /// The gate.
    ///
    /// # Errors
    /// If the pool says that it has no connections, or if the queue's longest wait is zero although there is a queue.
    pub fn build(self) -> Result<PoolGate<C, E>, ConfigError> {
        let size = (self.size)();
        let limiter = Limiter::builder()
            .name(self.name)
            .limit(size)
            .queue(self.queue.unwrap_or_else(|| QueueConfig::bounded(size)))
            // It takes a lock for each admission: little beside what a connection is used for.
            .track_occupants(true)
            .build()?;
        Ok(PoolGate::new(limiter, self.size, size, self.get, self.gives_within))
    }
}

impl<C, E> fmt::Debug for PoolGateBuilder<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolGateBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
