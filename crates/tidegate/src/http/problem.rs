//! [`Problem`]: what a refusal says in HTTP.

use std::fmt::Write;
use std::time::Duration;

use http::StatusCode;

use crate::refused::{Reason, Refused};

use super::spread;

/// What a refusal says in HTTP: the status, the reason, and a moment to come back that is this caller's own.
///
/// ```
/// use tidegate::http::Problem;
/// use tidegate::{Limiter, QueueConfig};
///
/// let limiter = Limiter::builder().limit(1).queue(QueueConfig::none()).build()?;
/// let _held = limiter.try_acquire(1).unwrap();
/// let problem = Problem::of(&limiter.try_acquire(1).unwrap_err());
/// assert_eq!(problem.status, 503);
/// assert!(problem.json().contains("\"reason\":\"queue_full\""));
/// # Ok::<(), tidegate::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// 429 where the tenant's own share is the reason, else 503.
    pub status: StatusCode,
    /// Why.
    pub reason: Reason,
    /// One sentence for a person.
    pub detail: &'static str,
    /// When to come back: the limiter's answer, or while it does not know its pace, a moment between 1 s and 5 s
    /// that differs from those given before. `None` if a later moment would be no better here.
    pub retry_after: Option<Duration>,
    /// False if coming back is not likely to help.
    pub worth_retrying: bool,
    /// The wait that was predicted, if the wait was the reason.
    pub wait: Option<Duration>,
}

impl Problem {
    /// What `refused` says.
    #[must_use]
    pub fn of(refused: &Refused) -> Self {
        use Reason::{Connections, Displaced, Expired, Memory, QueueFull, TenantShare, WaitTooLong};
        let reason = refused.reason();
        let for_load = matches!(
            reason,
            QueueFull | WaitTooLong | Expired | Displaced | Memory | Connections | TenantShare
        );
        let given = refused.retry_after();
        Self {
            status: match reason {
                TenantShare => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
            reason,
            detail: detail(reason),
            retry_after: given.or_else(|| for_load.then(spread::next)),
            worth_retrying: match given {
                Some(_) => refused.worth_retrying(),
                None => for_load,
            },
            wait: refused.wait().map(|wait| wait.expected),
        }
    }

    /// As `application/problem+json` (RFC 9457).
    #[must_use]
    pub fn json(&self) -> String {
        let mut json = format!(
            r#"{{"type":"urn:tidegate:refused:{}","title":"{}","status":{},"detail":"{}","reason":"{}","worth_retrying":{}"#,
            self.reason,
            self.status.canonical_reason().unwrap_or("Refused"),
            self.status.as_u16(),
            self.detail,
            self.reason,
            self.worth_retrying,
        );
        for (name, time) in [("retry_after_ms", self.retry_after), ("predicted_wait_ms", self.wait)] {
            if let Some(time) = time {
                // Writing to a String does not fail.
                let _ = write!(json, r#","{name}":{}"#, millis(time));
            }
        }
        json.push('}');
        json
    }

    /// `Retry-After`: whole seconds, never earlier than the moment that was given.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after
            .map(|after| after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1))
    }

    /// `grpc-retry-pushback-ms` (gRFC A6); −1 says: do not retry.
    pub(super) fn pushback(&self) -> i64 {
        match self.retry_after {
            Some(after) if self.worth_retrying => i64::try_from(millis(after)).unwrap_or(i64::MAX),
            _ => -1,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// None of these needs an escape in JSON, or in a header.
fn detail(reason: Reason) -> &'static str {
    match reason {
        Reason::QueueFull => "The service is full and so is the queue before it.",
        Reason::WaitTooLong => "The service is full, and the wait would have been too long.",
        Reason::Deadline => "The answer would have come too late for you.",
        Reason::Expired => "The time for an answer has passed.",
        Reason::Displaced => "The service is full, and more important work took the place.",
        Reason::TenantShare => "You have your share of the service already.",
        Reason::Memory => "The memory for waiting requests is used up.",
        Reason::Connections => "The service has too many open connections.",
        Reason::Draining => "The service is shutting down.",
        Reason::OriginDown => "The service behind cannot be reached.",
        Reason::OriginTimeout => "The service behind did not answer in time.",
        Reason::TicketInvalid => "The ticket shown is not valid.",
        Reason::Malformed => "The request cannot be understood.",
        Reason::AlreadyHeld => "This holder has its one permit already.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: Reason, after: Option<u64>) -> Refused {
        let retry_after = after.map(Duration::from_millis);
        Refused { reason, worth_retrying: after.is_some(), retry_after, wait: None, limiter: "db".into() }
    }

    #[test]
    fn every_reason_makes_json_that_can_be_read() {
        for reason in Reason::ALL {
            let problem = Problem::of(&refused(reason, Some(1234)));
            let read: serde_json::Value = serde_json::from_str(&problem.json()).unwrap();
            assert_eq!((&read["reason"], &read["retry_after_ms"]), (&reason.name().into(), &1234.into()));
            assert_eq!(read["status"], problem.status.as_u16());
            assert_eq!((problem.retry_after_seconds(), problem.pushback()), (Some(2), 1234));
        }
    }

    #[test]
    fn an_unknown_pace_still_gives_moments_that_differ() {
        let full = || Problem::of(&refused(Reason::QueueFull, None));
        assert_ne!(full().retry_after, full().retry_after);
        assert!(full().worth_retrying);
        let draining = Problem::of(&refused(Reason::Draining, None));
        assert_eq!((draining.retry_after, draining.worth_retrying, draining.pushback()), (None, false, -1));
        assert_eq!(Problem::of(&refused(Reason::TenantShare, None)).status, 429);
    }
}
