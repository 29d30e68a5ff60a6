//! How long the client waits, read from actix-web's requests.

use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderMap;
use tokio::time::Instant;

use crate::demand::Demand;
use crate::http::{Deadline, Fields, time_left_in};

impl Fields for HeaderMap {
    fn texts(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.get_all(name).filter_map(|value| value.to_str().ok())
    }
}

/// The deadline in a request's extensions, or else what its headers say, counted from now, as
/// [`time_left`](crate::http::time_left) reads them; `None` if they say nothing.
///
/// ```
/// use std::time::Duration;
/// use actix_web::test::TestRequest;
/// use tidegate::actix::deadline_of;
///
/// let request = TestRequest::default().insert_header(("x-request-timeout", "2s")).to_srv_request();
/// assert!(deadline_of(&request).unwrap().left() <= Duration::from_secs(2));
/// assert!(deadline_of(&TestRequest::default().to_srv_request()).is_none());
/// ```
#[must_use]
pub fn deadline_of(request: &ServiceRequest) -> Option<Deadline> {
    let noted = request.extensions().get::<Deadline>().copied();
    noted.or_else(|| {
        let left = time_left_in(request.headers())?;
        Instant::now().checked_add(left).map(Deadline::at)
    })
}

/// [`Demand::ONE`] with the request's deadline, if it has one ([`deadline_of`]): what [`Limit`](super::Limit) asks
/// for by default.
#[must_use]
pub fn until_deadline(request: &ServiceRequest) -> Demand {
    match deadline_of(request) {
        Some(deadline) => Demand::ONE.deadline(deadline.moment()),
        None => Demand::ONE,
    }
}
