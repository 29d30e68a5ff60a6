//! How work ended, read from the status.

use http::{Response, StatusCode};
use tidegate_control::sample::Outcome;

use crate::tower::OutcomeOf;

/// 503, 504 and 429 mean overload: the service says that it has too much to do, or showed it. 500, 502 and errors
/// say nothing about load. Everything else is success.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl<B, E> OutcomeOf<Response<B>, E> for ByStatus {
    fn outcome(&self, result: Result<&Response<B>, &E>) -> Outcome {
        match result.map(Response::status) {
            Ok(
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT | StatusCode::TOO_MANY_REQUESTS,
            ) => Outcome::Overload,
            Ok(StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY) | Err(_) => Outcome::Ignore,
            Ok(_) => Outcome::Success,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells() {
        for (status, outcome) in [
            (200, Outcome::Success),
            (404, Outcome::Success),
            (500, Outcome::Ignore),
            (502, Outcome::Ignore),
            (503, Outcome::Overload),
            (504, Outcome::Overload),
            (429, Outcome::Overload),
        ] {
            let response = Response::builder().status(status).body(()).unwrap();
            assert_eq!(ByStatus.outcome(Ok::<_, &()>(&response)), outcome, "{status}");
        }
        assert_eq!(ByStatus.outcome(Err::<&Response<()>, _>(&())), Outcome::Ignore);
    }
}
