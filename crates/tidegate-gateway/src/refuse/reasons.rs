//! What is said to a client that gets no answer of the origin: the gateway's own reasons, beside a limiter's.

use http::StatusCode;
use tidegate::http::Problem;
use tidegate::{Reason, Refused};

use crate::body::TooSlow;
use crate::listen::Fault;
use crate::origin::{OriginError, OriginErrorKind};

/// What a limiter's refusal says here.
pub(crate) fn problem_of(refused: &Refused) -> Problem {
    let mut problem = Problem::of(refused);
    problem.detail = match problem.reason {
        Reason::Deadline => "The service is full, and the answer would have come too late for you.",
        Reason::Expired => "The service is full, and the wait took longer than it may.",
        Reason::Draining => "The gateway is shutting down.",
        _ => problem.detail,
    };
    problem
}

/// What is said where every place for a stream is taken: there the limiter before the origin had room. The origin has
/// answered, so that a gRPC client, which repeats what it is asked to whatever it does, is not asked.
pub(crate) fn no_place_for_a_stream(refused: &Refused, grpc: bool) -> Problem {
    let mut problem = problem_of(refused);
    problem.reason = Reason::Connections;
    problem.detail = "As many streams and upgraded connections are open as there may be.";
    problem.worth_retrying &= !grpc;
    problem
}

/// What is said to whom there is no memory for.
pub(crate) fn no_memory() -> Problem {
    let detail = "The gateway's memory for requests is used up.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Memory, detail)
}

impl From<&OriginError> for Problem {
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
            OriginErrorKind::OpenFiles => (
                StatusCode::SERVICE_UNAVAILABLE,
                Reason::Connections,
                "The gateway has as many connections to the service as it may.",
            ),
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

impl From<Fault> for Problem {
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
            Fault::Memory => no_memory(),
        }
    }
}

impl From<TooSlow> for Problem {
    fn from(_: TooSlow) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            Reason::Malformed,
            "The request's body did not arrive in time.",
        )
    }
}
