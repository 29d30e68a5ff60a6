//! How large a channel is, and what happens when it is full.

use std::fmt;
use std::time::Duration;

use crate::budget::Budget;
use crate::clock::{Clock, nanos};
use crate::limiter::ConfigError;

use super::receiver::Receiver;
use super::sender::Sender;
use super::shared::Shared;
use super::weigh::Weigh;

/// Channels that may stand behind each other by [`Overflow::Reroute`].
const LONGEST_REROUTE: u8 = 8;

/// What happens to an item when there is no room for it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Overflow<T> {
    /// It waits its turn; [`offer`](Sender::offer), which never waits, refuses it. The default: the pressure is passed on.
    #[default]
    Wait,
    /// It is refused at once.
    Refuse,
    /// It is displaced: handed back, and counted as lost by policy.
    DropNewest,
    /// Those that have been in the channel longest, and were not received yet, are handed back until it fits. What was
    /// received is never touched; if that is what is in the way, the newcomer is refused, and nobody is displaced.
    DropOldest,
    /// It is offered, without waiting, to another channel; if that does not take it either, it is refused. A channel is made
    /// with the channels behind it, so they cannot form a circle.
    Reroute(Sender<T>),
}

/// What happens to an item that is larger than the whole channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oversize {
    /// It is refused: the bound holds always. The default.
    #[default]
    Refuse,
    /// It is admitted when nothing else is charged, alone.
    AdmitAlone,
}

/// Makes a channel.
///
/// ```
/// use tidegate::channel::{Config, Overflow};
///
/// let config = Config::new(1 << 20).max_items(100).overflow(Overflow::DropOldest);
/// let (sender, receiver) = config.build()?;
/// # let _: (tidegate::channel::Sender<String>, tidegate::channel::Receiver<String>) = (sender, receiver);
/// # Ok::<(), tidegate::ConfigError>(())
/// ```
#[must_use = "a configuration does nothing until `build`"]
pub struct Config<T> {
    pub(super) max_bytes: u64,
    pub(super) max_items: usize,
    pub(super) max_waiters: usize,
    pub(super) per_item: u64,
    pub(super) min_bytes: Option<u64>,
    pub(super) oversize: Oversize,
    pub(super) overflow: Overflow<T>,
    pub(super) target_delay: Option<Duration>,
    pub(super) budget: Option<Budget>,
    pub(super) weigh: fn(&T) -> u64,
}

impl<T: Weigh> Config<T> {
    /// At most `max_bytes`, counted from when room is reserved to when the received lease is dropped.
    pub fn new(max_bytes: u64) -> Self {
        Self::weighing(max_bytes, T::weight)
    }
}

impl<T> Config<T> {
    /// Items at once, where nothing else was said: most channels end by bytes before that.
    pub const DEFAULT_MAX_ITEMS: usize = 1024;
    /// Senders that wait, where nothing else was said; each takes about 200 bytes and its own item.
    pub const DEFAULT_MAX_WAITERS: usize = 1024;
    /// Bytes of the queue that an item takes beside its own size: its weight, its time, its sender.
    const PLACE: u64 = 64;

    /// The same for items that do not say themselves how heavy they are; or that shall be weighed otherwise.
    pub fn weighing(max_bytes: u64, weigh: fn(&T) -> u64) -> Self {
        Self {
            max_bytes,
            max_items: Self::DEFAULT_MAX_ITEMS,
            max_waiters: Self::DEFAULT_MAX_WAITERS,
            per_item: Self::PLACE.saturating_add(u64::try_from(size_of::<T>()).unwrap_or(u64::MAX)),
            min_bytes: None,
            oversize: Oversize::default(),
            overflow: Overflow::default(),
            target_delay: None,
            budget: None,
            weigh,
        }
    }

    /// At most so many items from reserve to drop. [`DEFAULT_MAX_ITEMS`](Self::DEFAULT_MAX_ITEMS) by default.
    pub fn max_items(mut self, items: usize) -> Self {
        self.max_items = items;
        self
    }

    /// At most so many senders wait; one more is refused ([`LineFull`](super::Why::LineFull)).
    /// [`DEFAULT_MAX_WAITERS`](Self::DEFAULT_MAX_WAITERS) by default.
    pub fn max_waiters(mut self, senders: usize) -> Self {
        self.max_waiters = senders;
        self
    }

    /// Bytes added to the weight of each item. By default its own size and 64 for its place in the queue, so that a
    /// million small items do not count as nothing.
    pub fn per_item(mut self, bytes: u64) -> Self {
        self.per_item = bytes;
        self
    }

    /// What happens when there is no room; [`Overflow::Wait`] by default.
    pub fn overflow(mut self, overflow: Overflow<T>) -> Self {
        self.overflow = overflow;
        self
    }

    /// What happens to an item larger than the channel; [`Oversize::Refuse`] by default.
    pub fn oversize(mut self, oversize: Oversize) -> Self {
        self.oversize = oversize;
        self
    }

    /// Bounds the channel by time as well: it takes no more than is received in `delay` at the measured pace. Bytes bound
    /// memory, time bounds latency. The capacity follows the pace between [`min_bytes`](Self::min_bytes) and the
    /// most, and changes only by more than a quarter, as Flink's buffer debloating does (FLIP-183). None by default.
    pub fn target_delay(mut self, delay: Duration) -> Self {
        self.target_delay = Some(delay);
        self
    }

    /// With a [`target_delay`](Self::target_delay): the least capacity. A sixteenth of the most by default, so that
    /// a pace that was measured too low cannot choke the channel.
    pub fn min_bytes(mut self, bytes: u64) -> Self {
        self.min_bytes = Some(bytes);
        self
    }

    /// Charges all bytes to `budget` as well, from reserve to drop. An item has its turn in the channel first, and then waits
    /// for the budget, if the policy is to wait. Where nobody waits, it is refused ([`Why::Memory`](super::Why::Memory)), displaced or
    /// rerouted; older ones are displaced if what they hold in the budget is enough for it. None by default.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The two ends.
    ///
    /// # Errors
    /// If it could hold nothing (0 bytes or items), if the least capacity is above the most, if the target delay is zero, or
    /// if more than eight channels stand behind each other by [`Overflow::Reroute`].
    pub fn build(self) -> Result<(Sender<T>, Receiver<T>), ConfigError> {
        let fault = |message| Err(ConfigError::new(message));
        if self.max_bytes == 0 || self.max_items == 0 {
            return fault("a channel of 0 bytes or items would take nothing: give at least 1");
        }
        if self.min_bytes.is_some_and(|least| least > self.max_bytes) {
            return fault("the least capacity is above the most: give less");
        }
        if self.target_delay.is_some_and(|delay| nanos(delay) == 0) {
            return fault("a target delay of zero would take nothing: give more, or none");
        }
        let depth = match &self.overflow {
            Overflow::Reroute(to) => to.depth().saturating_add(1),
            _ => 0,
        };
        if depth > LONGEST_REROUTE {
            return fault("more than eight channels stand behind each other: reroute to an earlier one");
        }
        let shared = Shared::new(self, depth, Clock::start());
        Ok((Sender::first(&shared), Receiver::new(shared)))
    }
}

impl<T> fmt::Debug for Config<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("max_bytes", &self.max_bytes)
            .field("max_items", &self.max_items)
            .finish_non_exhaustive()
    }
}
