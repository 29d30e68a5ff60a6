//! Refusals are values: why not, and when to come back.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::nanos;
use crate::readiness::WaitEstimate;

/// Why a caller was not admitted: one vocabulary for errors, HTTP bodies, logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Every unit is held and every waiting place is taken (or the caller asked not to wait).
    QueueFull,
    /// The wait would have been longer than the wait budget.
    WaitTooLong,
    /// The caller's deadline could not have been met.
    Deadline,
    /// The wait outlived the caller's deadline or its longest wait.
    Expired,
    /// More important work took the waiting place.
    Displaced,
    /// The tenant has its share already.
    TenantShare,
    /// The memory budget is spent.
    Memory,
    /// Too many connections.
    Connections,
    /// The service behind is down.
    OriginDown,
    /// The service behind did not answer in time.
    OriginTimeout,
    /// Shutting down.
    Draining,
    /// The ticket shown was forged, foreign or out of date.
    TicketInvalid,
    /// The request cannot be understood.
    Malformed,
    /// The holder has its one permit, or waits for it, already: a mistake in the program, which would wait for
    /// itself (see [`one_permit_per_holder`](crate::LimiterBuilder::one_permit_per_holder)).
    AlreadyHeld,
}

impl Reason {
    /// Every reason, in the order of [`Reason::index`].
    pub const ALL: [Self; 14] = [
        Self::QueueFull,
        Self::WaitTooLong,
        Self::Deadline,
        Self::Expired,
        Self::Displaced,
        Self::TenantShare,
        Self::Memory,
        Self::Connections,
        Self::OriginDown,
        Self::OriginTimeout,
        Self::Draining,
        Self::TicketInvalid,
        Self::Malformed,
        Self::AlreadyHeld,
    ];

    /// Position in [`Reason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in metrics, logs and problem bodies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WaitTooLong => "wait_too_long",
            Self::Deadline => "deadline",
            Self::Expired => "expired",
            Self::Displaced => "displaced",
            Self::TenantShare => "tenant_share",
            Self::Memory => "memory",
            Self::Connections => "connections",
            Self::OriginDown => "origin_down",
            Self::OriginTimeout => "origin_timeout",
            Self::Draining => "draining",
            Self::TicketInvalid => "ticket_invalid",
            Self::Malformed => "malformed",
            Self::AlreadyHeld => "already_held",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A caller was not admitted. Cheap to make: no allocation, no backtrace.
#[derive(Clone, Debug)]
pub struct Refused {
    limiter: Arc<str>,
    retry_after: Span,
    wait: Expected,
    reason: Reason,
    worth_retrying: bool,
}

/// A duration, or none, in one word of nanoseconds. A permit takes the place of a refusal in every answer: with words all
/// through, it can be read back as it was written.
#[derive(Clone, Copy)]
struct Span(u64);

impl Span {
    const NONE: Self = Self(u64::MAX);

    const fn get(self) -> Option<Duration> {
        if self.0 == u64::MAX { None } else { Some(Duration::from_nanos(self.0)) }
    }
}

impl From<Option<Duration>> for Span {
    fn from(span: Option<Duration>) -> Self {
        span.map_or(Self::NONE, |span| Self(nanos(span).min(u64::MAX - 1)))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A [`WaitEstimate`], or none, likewise.
#[derive(Clone, Copy, Debug)]
struct Expected {
    expected: Span,
    upper: Span,
    samples: u64,
}

impl From<Option<WaitEstimate>> for Expected {
    fn from(wait: Option<WaitEstimate>) -> Self {
        Self {
            expected: wait.map(|wait| wait.expected).into(),
            upper: wait.map(|wait| wait.upper).into(),
            samples: wait.map_or(0, |wait| wait.samples),
        }
    }
}

/// Making one.
impl Refused {
    pub(crate) fn new(reason: Reason, limiter: Arc<str>) -> Self {
        Self {
            limiter,
            retry_after: Span::NONE,
            wait: None.into(),
            reason,
            worth_retrying: reason != Reason::Draining,
        }
    }

    /// For another reason.
    #[cfg(feature = "gate")]
    pub(crate) fn because(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    pub(crate) fn worth_it(self, worth_retrying: bool) -> Self {
        Self { worth_retrying, ..self }
    }

    pub(crate) fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after: retry_after.into(), ..self }
    }

    pub(crate) fn for_wait(self, wait: Option<WaitEstimate>) -> Self {
        Self { wait: wait.into(), ..self }
    }
}

impl Refused {
    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// When to come back: a moment of this caller's own, paced by what is being served, so that two refused
    /// callers do not return together. `None` while nothing is known about the pace.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after.get()
    }

    /// False if coming back at [`retry_after`](Self::retry_after) is not likely to help (it is far away).
    #[must_use]
    pub const fn worth_retrying(&self) -> bool {
        self.worth_retrying
    }

    /// The wait that was predicted, if the wait was the reason.
    #[must_use]
    pub const fn wait(&self) -> Option<WaitEstimate> {
        let Expected { expected, upper, samples } = self.wait;
        match (expected.get(), upper.get()) {
            (Some(expected), Some(upper)) => Some(WaitEstimate { expected, upper, samples }),
            _ => None,
        }
    }

    /// The name of the limiter that refused.
    #[must_use]
    pub fn limiter(&self) -> &str {
        &self.limiter
    }

    /// Finds the refusal in an error or among its sources, through any boxes around it.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref::<Self>())
    }
}

/// An error and what stands behind it, one by one.
pub(crate) fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'e (dyn Error + 'static)| {
        // An io::Error shows as its source what stands behind the error inside it, not that error.
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by {}: {}", self.limiter, self.reason)?;
        match self.retry_after() {
            Some(after) => write!(f, ", retry after {} ms", after.as_millis()),
            None => Ok(()),
        }
    }
}

impl Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_indexed() {
        for (position, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), position);
            assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }

    #[test]
    fn a_refusal_is_found_through_boxes() {
        let refused = Refused::new(Reason::QueueFull, "db".into()).after(Some(Duration::from_millis(1500)));
        let wrapped = std::io::Error::other(refused);
        let boxed: Box<dyn Error + Send + Sync> = Box::new(wrapped);
        let found = Refused::find(&*boxed).unwrap();
        assert_eq!(found.reason(), Reason::QueueFull);
        assert_eq!(found.to_string(), "refused by db: queue_full, retry after 1500 ms");
    }
    #[test]
    fn what_it_was_made_with_is_what_it_says() {
        let refused = Refused::new(Reason::WaitTooLong, "db".into());
        assert_eq!((refused.retry_after(), refused.wait(), refused.worth_retrying()), (None, None, true));
        let wait = WaitEstimate { expected: Duration::ZERO, upper: Duration::from_nanos(7), samples: 3 };
        let refused = refused.for_wait(Some(wait)).after(Some(Duration::from_nanos(1))).worth_it(false);
        assert_eq!((refused.wait(), refused.worth_retrying()), (Some(wait), false));
        assert_eq!(refused.retry_after(), Some(Duration::from_nanos(1)));
        // Longer than a program runs.
        assert!(
            refused.after(Some(Duration::MAX)).retry_after().unwrap() > Duration::from_secs(18_000_000_000)
        );
        assert!(!Refused::new(Reason::Draining, "db".into()).worth_retrying());
    }
}
