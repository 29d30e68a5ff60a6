//! How work ended, read from the status.

use http::{HeaderMap, Response};
use tidegate_control::sample::Outcome;

use crate::tower::OutcomeOf;

/// 503, 504 and 429 mean overload: the service says that it has too much to do, or showed it. 500, 502 and errors
/// say nothing about load. Everything else is success.
///
/// In a gRPC answer the `grpc-status` counts (grpc/doc/statuscodes.md): `UNAVAILABLE`, `RESOURCE_EXHAUSTED` and
/// `DEADLINE_EXCEEDED` mean overload, `UNKNOWN`, `INTERNAL` and `DATA_LOSS` nothing, and `CANCELLED` that the work
/// was broken off. Where it comes in the trailers, [`UntilBodyEnd`](super::UntilBodyEnd) reads it there.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl ByStatus {
    /// What an HTTP status means.
    pub(crate) const fn of(status: u16) -> Outcome {
        match status {
            503 | 504 | 429 => Outcome::Overload,
            500 | 502 => Outcome::Ignore,
            _ => Outcome::Success,
        }
    }
}

/// What `grpc-status` means; `None` where there is none.
pub(super) fn grpc_outcome(fields: &HeaderMap) -> Option<Outcome> {
    Some(match fields.get("grpc-status")?.as_bytes() {
        // RESOURCE_EXHAUSTED, UNAVAILABLE, DEADLINE_EXCEEDED
        b"8" | b"14" | b"4" => Outcome::Overload,
        // UNKNOWN, INTERNAL, DATA_LOSS
        b"2" | b"13" | b"15" => Outcome::Ignore,
        // CANCELLED
        b"1" => Outcome::Canceled,
        _ => Outcome::Success,
    })
}

impl<B, E> OutcomeOf<Response<B>, E> for ByStatus {
    fn outcome(&self, result: Result<&Response<B>, &E>) -> Outcome {
        match result {
            Ok(response) => match Self::of(response.status().as_u16()) {
                Outcome::Success => grpc_outcome(response.headers()).unwrap_or(Outcome::Success),
                other => other,
            },
            Err(_) => Outcome::Ignore,
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
    #[test]
    fn so_does_grpcs() {
        for (status, outcome) in [
            ("0", Outcome::Success),
            ("5", Outcome::Success),
            ("14", Outcome::Overload),
            ("8", Outcome::Overload),
            ("4", Outcome::Overload),
            ("13", Outcome::Ignore),
            ("1", Outcome::Canceled),
        ] {
            let response = Response::builder().header("grpc-status", status).body(()).unwrap();
            assert_eq!(ByStatus.outcome(Ok::<_, &()>(&response)), outcome, "{status}");
        }
    }
}
