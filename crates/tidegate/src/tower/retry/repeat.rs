//! [`Repeat`]: what may be asked twice, and how.

use tokio::time::Instant;

/// One attempt of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// Whether the server itself asked for it at this moment.
    pub invited: bool,
    /// When the caller gives up.
    pub deadline: Instant,
}

/// Knows how a request is repeated, and whether that is safe. A pair of closures does: one that copies a request, or
/// cannot, and one that says whether it is idempotent. For HTTP there is `RepeatHttp` (feature `http`).
///
/// ```
/// use tidegate::tower::{Repeat, RetryLayer};
///
/// // For reqwest: (|r: &reqwest::Request| r.try_clone(), |r: &reqwest::Request| is_idempotent(r.method()))
/// let numbers = (|n: &u32| Some(*n), |n: &u32| n % 2 == 0);
/// assert!(numbers.is_idempotent(&4));
/// let _layer = RetryLayer::new(std::time::Duration::from_secs(15), numbers);
/// ```
pub trait Repeat<Req> {
    /// A copy for one more attempt; `None` if there cannot be one (a body that streams).
    fn copy(&self, request: &Req) -> Option<Req>;

    /// Whether the server may get `request` twice although it may have worked on the first (RFC 9110 §9.2.2).
    fn is_idempotent(&self, request: &Req) -> bool;

    /// When the request's own time is over; `None`, the default, if it does not say.
    fn deadline(&self, request: &Req) -> Option<Instant> {
        let _ = request;
        None
    }

    /// Leaves a note in the request for what lies behind. Does nothing by itself.
    fn note(&self, request: &mut Req, attempt: &Attempt) {
        let _ = (request, attempt);
    }
}

impl<Req, C: Fn(&Req) -> Option<Req>, I: Fn(&Req) -> bool> Repeat<Req> for (C, I) {
    fn copy(&self, request: &Req) -> Option<Req> {
        (self.0)(request)
    }

    fn is_idempotent(&self, request: &Req) -> bool {
        (self.1)(request)
    }
}
