//! [`Pushback`]: what a client heard.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use crate::refused::{Reason, Refused};
use crate::tower::refusal::BoxError;

/// What an answer said about load, and about coming back.
///
/// ```
/// use std::time::Duration;
/// use tidegate::Reason;
/// use tidegate::tower::Pushback;
///
/// let heard = Pushback::refused(Reason::QueueFull).after(Duration::from_millis(1500)).unprocessed();
/// assert_eq!(heard.moment(), Some(Duration::from_millis(1500)));
/// assert!(!heard.is_accepted() && heard.is_unprocessed() && heard.worth_retrying());
/// assert!(Pushback::NONE.is_accepted());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushback {
    reason: Option<Reason>,
    moment: Option<Duration>,
    worth_retrying: bool,
    unprocessed: bool,
    /// A layer of this program refused, for this caller alone; the server said nothing.
    local: bool,
}

impl Pushback {
    /// The request was accepted and nothing else was said.
    pub const NONE: Self =
        Self { reason: None, moment: None, worth_retrying: true, unprocessed: false, local: false };

    /// The request was not served, for `reason`.
    #[must_use]
    pub const fn refused(reason: Reason) -> Self {
        Self { reason: Some(reason), ..Self::NONE }
    }

    /// The server named a moment: so long from now. On an answer that was accepted, the next request is what it is for.
    #[must_use]
    pub const fn after(mut self, moment: Duration) -> Self {
        self.moment = Some(moment);
        self
    }

    /// The server said that it did nothing of the request, so that any method may be repeated.
    #[must_use]
    pub const fn unprocessed(mut self) -> Self {
        self.unprocessed = true;
        self
    }

    /// The server said that coming back would not help.
    #[must_use]
    pub const fn futile(mut self) -> Self {
        self.worth_retrying = false;
        self
    }

    /// Whether the request was served, well or badly.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        self.reason.is_none()
    }

    /// Why it was not served.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// The moment that the server named, counted from its answer. `None` if it named none.
    #[must_use]
    pub const fn moment(&self) -> Option<Duration> {
        self.moment
    }

    /// False if the server said that coming back would not help.
    #[must_use]
    pub const fn worth_retrying(&self) -> bool {
        self.worth_retrying
    }

    /// Whether the server said that it did nothing of the request.
    #[must_use]
    pub const fn is_unprocessed(&self) -> bool {
        self.unprocessed
    }

    pub(in crate::tower) const fn is_local(&self) -> bool {
        self.local
    }

    /// What an error says: a [`Refused`] in it or among its sources has everything, from a layer of this program and for
    /// this caller alone; any other error leaves open how far the request came ([`Reason::OriginDown`]).
    #[must_use]
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let Some(refused) = Refused::find(error) else { return Self::refused(Reason::OriginDown) };
        Self {
            reason: Some(refused.reason()),
            moment: refused.retry_after(),
            worth_retrying: refused.worth_retrying(),
            unprocessed: means_unprocessed(refused.reason()),
            local: true,
        }
    }
}

/// Reasons with which this crate's limiters and the gateway refuse before any work began. `Expired` is not among them: a
/// [`DeadlineLayer`](crate::tower::DeadlineLayer) also says it of work that it ended. Neither is `Connections`: the gateway says it of an answer
/// for which it has no stream, when the service has done its work.
pub(crate) const fn means_unprocessed(reason: Reason) -> bool {
    use Reason::{Deadline, Displaced, Draining, Memory, QueueFull, TenantShare, WaitTooLong};
    matches!(reason, QueueFull | WaitTooLong | Deadline | Displaced | TenantShare | Memory | Draining)
}

/// Reads what an answer says. A closure `Fn(Result<&Rsp, &E>) -> Pushback` does; for HTTP there is `HearHttp` (feature
/// `http`).
pub trait Hear<Rsp, E> {
    /// What `result` says. Called once an attempt, as soon as the answer's head is there.
    fn hear(&self, result: Result<&Rsp, &E>) -> Pushback;
}

impl<Rsp, E, F: Fn(Result<&Rsp, &E>) -> Pushback> Hear<Rsp, E> for F {
    fn hear(&self, result: Result<&Rsp, &E>) -> Pushback {
        self(result)
    }
}

/// Every response is accepted; errors say what [`Pushback::of_error`] finds in them. The default of
/// [`RetryLayer`](crate::tower::RetryLayer) and [`RestrainLayer`](crate::tower::RestrainLayer).
#[derive(Clone, Copy, Debug, Default)]
pub struct HearErrors;

impl<Rsp> Hear<Rsp, BoxError> for HearErrors {
    fn hear(&self, result: Result<&Rsp, &BoxError>) -> Pushback {
        match result {
            Ok(_) => Pushback::NONE,
            Err(error) => Pushback::of_error(&**error),
        }
    }
}

impl<Rsp> Hear<Rsp, Infallible> for HearErrors {
    fn hear(&self, _: Result<&Rsp, &Infallible>) -> Pushback {
        Pushback::NONE
    }
}
