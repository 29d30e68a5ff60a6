//! Refusals are values: why not, and when to come back.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

    /// The name used in metrics, logs, headers and problem bodies.
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
    pub(crate) reason: Reason,
    pub(crate) worth_retrying: bool,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) wait: Option<WaitEstimate>,
    pub(crate) limiter: Arc<str>,
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
        self.retry_after
    }

    /// False if coming back at [`retry_after`](Self::retry_after) is not likely to help (it is far away).
    #[must_use]
    pub const fn worth_retrying(&self) -> bool {
        self.worth_retrying
    }

    /// The wait that was predicted, if the wait was the reason.
    #[must_use]
    pub const fn wait(&self) -> Option<WaitEstimate> {
        self.wait
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
        match self.retry_after {
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
        let refused = Refused {
            reason: Reason::QueueFull,
            worth_retrying: true,
            retry_after: Some(Duration::from_millis(1500)),
            wait: None,
            limiter: "db".into(),
        };
        let wrapped = std::io::Error::other(refused);
        let boxed: Box<dyn Error + Send + Sync> = Box::new(wrapped);
        let found = Refused::find(&*boxed).unwrap();
        assert_eq!(found.reason(), Reason::QueueFull);
        assert_eq!(found.to_string(), "refused by db: queue_full, retry after 1500 ms");
    }
}
