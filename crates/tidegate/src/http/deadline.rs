//! [`Deadline`]: how long the client waits, obeyed here and passed on.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Request};
use tokio::time::Instant;

use crate::demand::Demand;
use crate::tower::DeadlineOf;

use super::time_left::time_left;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// The moment after which nobody waits for the answer any more. It travels in a request's extensions.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue};
/// use tidegate::http::Deadline;
///
/// let mut asked = HeaderMap::new();
/// asked.insert("x-request-timeout", HeaderValue::from_static("2s"));
/// let deadline = Deadline::of(&asked).unwrap();
/// tokio::time::sleep(Duration::from_millis(500)).await;
///
/// let mut onward = HeaderMap::new();
/// assert_eq!(deadline.pass_on(&mut onward), Some(Duration::from_millis(1500)));
/// assert_eq!(onward["x-request-timeout"], "1500ms");
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// This moment.
    #[must_use]
    pub const fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// What a request's headers say, counted from now; `None` if they say nothing ([`time_left`]).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        time_left(headers).and_then(|left| Instant::now().checked_add(left)).map(Self)
    }

    /// The deadline that a layer found ([`HeaderDeadline`]), or else what the headers say.
    #[must_use]
    pub fn of_request<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get::<Self>().copied().or_else(|| Self::of(request.headers()))
    }

    /// The moment.
    #[must_use]
    pub const fn moment(self) -> Instant {
        self.0
    }

    /// Time until it; zero once it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Tells the service that is called on the way: `grpc-timeout` where the headers speak gRPC, else
    /// `X-Request-Timeout`, rounded down. Returns the time left, or `None`, with the headers as they were, when
    /// less than that can express is left: then there is no use in calling.
    pub fn pass_on(self, headers: &mut HeaderMap) -> Option<Duration> {
        let left = self.left();
        let grpc =
            headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let (name, value) = if grpc {
            (GRPC_TIMEOUT, grpc_timeout(left)?)
        } else {
            let millis = left.as_millis();
            (REQUEST_TIMEOUT, (millis > 0).then(|| format!("{millis}ms"))?)
        };
        headers.insert(name, HeaderValue::try_from(value).ok()?);
        Some(left)
    }

    /// Where the headers name a time, they name what is left from now on, the least they can express if that is less.
    pub(super) fn renew(self, headers: &mut HeaderMap) {
        if headers.contains_key(GRPC_TIMEOUT) {
            let left = grpc_timeout(self.left()).unwrap_or_else(|| "1u".to_owned());
            set(headers, GRPC_TIMEOUT, left);
        }
        if headers.contains_key(REQUEST_TIMEOUT) {
            set(headers, REQUEST_TIMEOUT, format!("{}ms", self.left().as_millis().max(1)));
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// At most eight digits and a unit, the finest that fits.
fn grpc_timeout(left: Duration) -> Option<String> {
    const MOST: u128 = 99_999_999;
    let (micros, millis) = (left.as_micros(), left.as_millis());
    match (micros, millis) {
        (0, _) => None,
        (1..=MOST, _) => Some(format!("{micros}u")),
        (_, ..=MOST) => Some(format!("{millis}m")),
        _ => Some(format!("{}S", u128::from(left.as_secs()).min(MOST))),
    }
}

/// Reads a deadline from the request's headers for a [`DeadlineLayer`](crate::tower::DeadlineLayer), and leaves it
/// in the request's extensions for what lies behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderDeadline;

impl<B> DeadlineOf<Request<B>> for HeaderDeadline {
    fn time_left(&self, request: &Request<B>) -> Option<Duration> {
        Deadline::of_request(request).map(Deadline::left)
    }

    fn note(&self, request: &mut Request<B>, deadline: Instant) {
        request.extensions_mut().insert(Deadline(deadline));
    }
}

/// [`Demand::ONE`] with the request's deadline, if it has one: for
/// [`LimitLayer::demand`](crate::tower::LimitLayer::demand).
pub fn until_deadline<B>(request: &Request<B>) -> Demand {
    match Deadline::of_request(request) {
        Some(deadline) => Demand::ONE.deadline(deadline.moment()),
        None => Demand::ONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_times_keep_to_eight_digits() {
        for (left, text) in [
            (Duration::from_nanos(999), None),
            (Duration::from_millis(5), Some("5000u")),
            (Duration::from_secs(100), Some("100000m")),
            (Duration::from_secs(200_000), Some("200000S")),
        ] {
            assert_eq!(grpc_timeout(left).as_deref(), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_passed_on_can_be_read_again() {
        for kind in ["application/grpc+proto", "text/plain"] {
            let deadline = Deadline::at(Instant::now() + Duration::from_millis(250));
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(deadline.pass_on(&mut headers), Some(Duration::from_millis(250)));
            assert_eq!(Deadline::of(&headers), Some(deadline));
            tokio::time::advance(Duration::from_millis(250)).await;
            assert_eq!(deadline.pass_on(&mut headers), None);
        }
    }
}
