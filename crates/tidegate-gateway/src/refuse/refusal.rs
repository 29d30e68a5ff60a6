//! [`Refusal`]: what is said to a client that gets no answer of the origin.

use std::time::Duration;

use http::StatusCode;
use tidegate::{Reason, Refused};

use crate::body::TooSlow;
use crate::listen::Fault;
use crate::origin::{OriginError, OriginErrorKind};

/// What is said to a client that gets no answer of the origin.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Why, in the one vocabulary of bodies, logs and metrics.
    pub reason: Reason,
    /// One sentence for a person.
    pub detail: &'static str,
    /// The moment to come back, this client's own.
    pub retry_after: Option<Duration>,
    /// False if the wait would be longer than it is worth.
    pub worth_retrying: bool,
    /// The wait that was predicted.
    pub wait: Option<Duration>,
}

impl Refusal {
    /// A refusal without a moment to come back.
    #[must_use]
    pub fn new(status: StatusCode, reason: Reason, detail: &'static str) -> Self {
        Self { status, reason, detail, retry_after: None, worth_retrying: false, wait: None }
    }

    /// Is there too much at the moment, so that a later moment may be better?
    pub(crate) fn is_for_load(&self) -> bool {
        use Reason::{Connections, Displaced, Expired, Memory, QueueFull, WaitTooLong};
        matches!(self.reason, QueueFull | WaitTooLong | Expired | Displaced | Memory | Connections)
    }
}

impl From<&Refused> for Refusal {
    fn from(refused: &Refused) -> Self {
        let reason = refused.reason();
        Self {
            status: match reason {
                Reason::TenantShare => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
            reason,
            detail: match reason {
                Reason::QueueFull => "The service is full and so is the queue before it.",
                Reason::WaitTooLong => "The service is full, and the wait would have been too long.",
                Reason::Deadline => "The service is full, and the answer would have come too late for you.",
                Reason::Expired => "The service is full, and the wait took longer than it may.",
                Reason::Displaced => "The service is full, and more important work took the place.",
                Reason::TenantShare => "You have your share of the service already.",
                Reason::Memory => "The gateway's memory for waiting requests is used up.",
                Reason::Connections => "The service has too many open streams.",
                Reason::Draining => "The gateway is shutting down.",
                _ => "The request was not admitted.",
            },
            retry_after: refused.retry_after(),
            worth_retrying: refused.worth_retrying(),
            wait: refused.wait().map(|wait| wait.expected),
        }
    }
}

impl From<&OriginError> for Refusal {
    fn from(error: &OriginError) -> Self {
        let (status, reason, detail) = match error.kind() {
            OriginErrorKind::DialFailed => {
                (StatusCode::BAD_GATEWAY, Reason::OriginDown, "The service cannot be reached.")
            }
            OriginErrorKind::DialTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, Reason::OriginTimeout, "The service does not take connections.")
            }
            OriginErrorKind::HeadTimeout | OriginErrorKind::BodyStalled => {
                (StatusCode::GATEWAY_TIMEOUT, Reason::OriginTimeout, "The service did not answer in time.")
            }
            OriginErrorKind::ClientBody => (
                StatusCode::BAD_REQUEST,
                Reason::Malformed,
                "The request's body ended before it was complete.",
            ),
            OriginErrorKind::Protocol => {
                (StatusCode::BAD_GATEWAY, Reason::OriginDown, "The service's answer is not HTTP.")
            }
            OriginErrorKind::Reset => (
                StatusCode::BAD_GATEWAY,
                Reason::OriginDown,
                "The service closed the connection without an answer.",
            ),
        };
        Self::new(status, reason, detail)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(what) => Self::new(StatusCode::BAD_REQUEST, Reason::Malformed, what),
            Fault::HeadTooLarge => Self::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Reason::Malformed,
                "The request's head has too many bytes or fields.",
            ),
            Fault::HeadTimeout => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                Reason::Malformed,
                "The request's head did not arrive in time.",
            ),
        }
    }
}

impl From<TooSlow> for Refusal {
    fn from(_: TooSlow) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            Reason::Malformed,
            "The request's body did not arrive in time.",
        )
    }
}
