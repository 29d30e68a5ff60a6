//! No bytes: why not, and when there may be some.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::readiness::WaitEstimate;
use crate::refused::{Reason, Refused};

/// Bytes were not leased. Cheap to make: no allocation.
///
/// It turns into a [`Refused`] where the answer is one of HTTP or gRPC.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Full {
    /// Bytes that were asked for.
    pub need: u64,
    /// Bytes that were free where there were too few, [there](Self::at).
    pub free: u64,
    /// How long it would take at the pace at which bytes came back lately, while somebody waited; `None` if that is not
    /// known.
    pub wait: Option<Duration>,
    /// Why: [`Memory`](Reason::Memory) if there is no room, or none for this [urgency](super::Urgency), or others wait for
    /// it; [`TenantShare`](Reason::TenantShare) if there is, but not for more than the own share;
    /// [`QueueFull`](Reason::QueueFull), [`WaitTooLong`](Reason::WaitTooLong), [`Expired`](Reason::Expired) if waiting did
    /// not help.
    pub reason: Reason,
    /// Could it ever be had? False for more than the limit of the budget, or of one above it.
    pub ever: bool,
    /// The name of the budget that is full: the one asked or the first one above it.
    pub at: Arc<str>,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { need, free, reason, at, .. } = self;
        write!(f, "no room for {need} bytes in {at} ({free} free): {reason}")?;
        match self.wait {
            Some(wait) => write!(f, ", in {} ms perhaps", wait.as_millis()),
            None if !self.ever => f.write_str(", nor ever"),
            None => Ok(()),
        }
    }
}

impl Error for Full {}

impl From<Full> for Refused {
    fn from(full: Full) -> Self {
        let wait = full.wait.map(|wait| WaitEstimate { expected: wait, upper: wait, samples: 1 });
        Self::new(full.reason, full.at).worth_it(full.ever).after(full.wait).for_wait(wait)
    }
}
