//! [`RepeatHttp`], [`ByAuthority`]: requests that may be asked again.

use http::Request;
use http::header::HOST;
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
/// [`Deadline::pass_on`], and where the headers name a time, a repeat names what is left of it. For other bodies, or other rules (an `Idempotency-Key`), write a
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
        let deadline = Deadline::at(attempt.deadline);
        if attempt.number > 1 {
            deadline.renew(request.headers_mut());
        }
        let extensions = request.extensions_mut();
        extensions.insert(deadline);
        extensions.remove::<Invited>();
        if attempt.invited {
            extensions.insert(Invited);
        }
    }
}

/// Pushback apart for each host and port that requests name in their target, or else in `Host`, for [`PushbackLayer::by`](crate::tower::PushbackLayer::by).
/// Requests that [`RepeatHttp`] marked as asked back by the server pass: the moment is theirs.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAuthority;

impl<B> KeyOf<Request<B>> for ByAuthority {
    type Key = Option<Authority>;

    fn key(&self, request: &Request<B>) -> Option<Authority> {
        let named = || request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        request.uri().authority().cloned().or_else(named)
    }

    fn is_invited(&self, request: &Request<B>) -> bool {
        request.extensions().get::<Invited>().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_repeat_names_what_is_left() {
        let request = |name, time| Request::get("/").header(name, time).body(()).unwrap();
        for (name, first, again) in [
            ("x-request-timeout", "5s", "3s"),
            ("grpc-timeout", "5S", "3000000u"),
            ("accept", "text/html", "text/html"),
        ] {
            let mut request = request(name, first);
            let deadline = Instant::now() + Duration::from_secs(5);
            RepeatHttp.note(&mut request, &Attempt { number: 1, invited: false, deadline });
            assert_eq!(request.headers()[name], first, "the first goes as it came");
            let mut copy = RepeatHttp.copy(&request).unwrap();
            tokio::time::advance(Duration::from_secs(2)).await;
            RepeatHttp.note(&mut copy, &Attempt { number: 2, invited: true, deadline });
            let said = copy.headers()[name].to_str().unwrap();
            assert!(said == again || said == "3000ms", "{said}");
            assert_eq!(copy.headers().len(), 1);
            tokio::time::advance(Duration::from_secs(3)).await;
        }
    }

    #[test]
    fn who_is_asked_is_in_the_target_or_in_host() {
        let key = |request: http::request::Builder| ByAuthority.key(&request.body(()).unwrap());
        let absolute = key(Request::get("http://a.example:81/x").header(HOST, "b.example"));
        assert_eq!(absolute.unwrap(), "a.example:81");
        assert_eq!(key(Request::get("/x").header(HOST, "b.example")).unwrap(), "b.example");
        assert_ne!(
            key(Request::get("/x").header(HOST, "b.example")),
            key(Request::get("/x").header(HOST, "c.example"))
        );
        assert_eq!(key(Request::get("/x")), None);
        assert_eq!(key(Request::get("/x").header(HOST, "no host")), None);
    }
}
