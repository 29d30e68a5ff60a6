//! [`RepeatHttp`], [`ByAuthority`]: requests that may be asked again.

use http::Request;
use http::uri::Authority;
use tokio::time::Instant;

use crate::http::Deadline;
use crate::tower::{Attempt, KeyOf, Repeat};

/// In the extensions of a request that the server asked back at this moment.
#[derive(Clone, Copy, Debug)]
struct Invited;

/// Repeats HTTP requests whose body can be cloned (`Bytes`, `Full<Bytes>`, `Empty`), for a
/// [`RetryLayer`](crate::tower::RetryLayer).
///
/// Idempotent are GET, HEAD, OPTIONS, TRACE, PUT and DELETE (RFC 9110 §9.2.2). A request's own time is its
/// [`Deadline`], or what its headers say; the call's deadline is left in the extensions of each attempt, for
/// [`Deadline::pass_on`]. For other bodies, or other rules (an `Idempotency-Key`), write a
/// [`Repeat`](crate::tower::Repeat); a pair of closures does.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepeatHttp;

impl<B: Clone> Repeat<Request<B>> for RepeatHttp {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }

    fn is_idempotent(&self, request: &Request<B>) -> bool {
        request.method().is_idempotent()
    }

    fn deadline(&self, request: &Request<B>) -> Option<Instant> {
        Deadline::of_request(request).map(Deadline::moment)
    }

    fn note(&self, request: &mut Request<B>, attempt: &Attempt) {
        let extensions = request.extensions_mut();
        extensions.insert(Deadline::at(attempt.deadline));
        extensions.remove::<Invited>();
        if attempt.invited {
            extensions.insert(Invited);
        }
    }
}

/// Pushback apart for each host and port that requests name, for [`PushbackLayer::by`](crate::tower::PushbackLayer::by).
/// Requests that [`RepeatHttp`] marked as asked back by the server pass: the moment is theirs.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAuthority;

impl<B> KeyOf<Request<B>> for ByAuthority {
    type Key = Option<Authority>;

    fn key(&self, request: &Request<B>) -> Option<Authority> {
        request.uri().authority().cloned()
    }

    fn is_invited(&self, request: &Request<B>) -> bool {
        request.extensions().get::<Invited>().is_some()
    }
}
