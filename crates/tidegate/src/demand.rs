//! What is asked for.

use std::borrow::Cow;
use std::time::Duration;

use tidegate_control::queue::Criticality;
use tidegate_control::sample::KINDS;
use tokio::time::Instant;

/// What a caller asks a limiter for: how much, how urgent, until when, for whom.
///
/// ```
/// use std::time::Duration;
/// use tidegate::{Criticality, Demand};
///
/// let demand = Demand::weight(3).class(Criticality::Sheddable).max_wait(Duration::from_millis(200));
/// ```
#[derive(Clone, Debug)]
pub struct Demand {
    pub(crate) weight: u64,
    pub(crate) class: Criticality,
    pub(crate) kind: u8,
    pub(crate) deadline: Option<Instant>,
    pub(crate) max_wait: Option<Duration>,
    pub(crate) patience: Option<Duration>,
    /// What few have: it is not carried along for the others.
    names: Option<Box<Names>>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    key: Option<Cow<'static, str>>,
    holder: Option<Cow<'static, str>>,
}

impl Demand {
    /// One unit, class [`Criticality::Critical`], kind 0, no deadline.
    pub const ONE: Self = Self {
        weight: 1,
        class: Criticality::Critical,
        kind: 0,
        deadline: None,
        max_wait: None,
        patience: None,
        names: None,
    };

    /// `units` of capacity; 0 counts as 1. A demand heavier than the whole limit is admitted alone, when
    /// nothing else is held.
    #[must_use]
    pub const fn weight(units: u64) -> Self {
        Self { weight: if units == 0 { 1 } else { units }, ..Self::ONE }
    }

    /// How much it hurts to refuse it. Higher classes are admitted first.
    #[must_use]
    pub fn class(mut self, class: Criticality) -> Self {
        self.class = class;
        self
    }

    /// The tenant on whose share this counts.
    #[must_use]
    pub fn key(mut self, key: impl Into<Cow<'static, str>>) -> Self {
        self.names.get_or_insert_default().key = Some(key.into());
        self
    }

    /// The name shown by [`Limiter::holders`](crate::Limiter::holders) and
    /// [`waiters`](crate::Limiter::waiters): whoever the capacity is for, which need not be who asks. Where
    /// [one permit per holder](crate::LimiterBuilder::one_permit_per_holder) was asked for, it has one.
    #[must_use]
    pub fn holder(mut self, who: impl Into<Cow<'static, str>>) -> Self {
        self.names.get_or_insert_default().holder = Some(who.into());
        self
    }

    /// The moment after which the answer is of no use: refused at once if it cannot be met, and expired in the
    /// queue when it passes.
    #[must_use]
    pub fn deadline(mut self, at: Instant) -> Self {
        self.deadline = Some(at);
        self
    }

    /// The longest this caller waits in the queue; at most the queue's own
    /// [`max_wait`](crate::QueueConfig::max_wait). When it has passed, the caller is refused as
    /// [`Expired`](crate::Reason::Expired).
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = Some(wait);
        self
    }

    /// When the client gives up (its timeout), if known: the wait may take only a part of it, so that the work
    /// can still be done in time.
    #[must_use]
    pub fn patience(mut self, timeout: Duration) -> Self {
        self.patience = Some(timeout);
        self
    }

    /// The kind of work (0..8; anything above counts as 7), so that service times are compared with their like.
    #[must_use]
    pub fn kind(mut self, kind: u8) -> Self {
        const LAST: u8 = KINDS as u8 - 1;
        self.kind = kind.min(LAST);
        self
    }
}

impl Demand {
    /// Does it bound its wait itself?
    pub(crate) fn has_times(&self) -> bool {
        self.deadline.is_some() || self.max_wait.is_some() || self.patience.is_some()
    }

    /// The name under which it is listed.
    #[inline]
    pub(crate) fn who(&self) -> Option<Cow<'static, str>> {
        self.names.as_deref().and_then(Names::first)
    }

    /// It is served: nobody asks for its names any more.
    #[inline]
    pub(crate) fn forget_names(&mut self) {
        self.names = None;
    }

    /// The holder that it names.
    pub(crate) fn named_holder(&self) -> Option<Cow<'static, str>> {
        self.names.as_deref()?.holder.clone()
    }
}

impl Names {
    /// The one it goes by.
    fn first(&self) -> Option<Cow<'static, str>> {
        self.holder.clone().or_else(|| self.key.clone())
    }
}

impl Default for Demand {
    fn default() -> Self {
        Self::ONE
    }
}

impl From<u64> for Demand {
    fn from(units: u64) -> Self {
        Self::weight(units)
    }
}
