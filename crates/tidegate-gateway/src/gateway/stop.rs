//! [`Stop`]: why a request gets no answer of the origin.

use std::error::Error;
use std::io;

use bytes::Bytes;
use http::{Response, StatusCode};
use tidegate::Reason;
use tidegate::http::Problem;

use crate::body::{BoxError, TooSlow};

/// Why a request gets no answer of the origin.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is refused.
    Refused(Problem),
    /// Its client left in the middle of its body. What is said then is for one that closed only its sending side.
    Left(Problem),
    /// It was meant to come as far as this gateway.
    Here(Box<Response<Bytes>>),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl Stop {
    /// Why a client's body ended early: it was too slow, it broke its framing, or it has gone.
    pub(super) fn of_body(error: &BoxError) -> Self {
        let mut next: Option<&(dyn Error + 'static)> = Some(&**error);
        let mut left = true;
        while let Some(error) = next {
            if let Some(slow) = error.downcast_ref::<TooSlow>() {
                return Problem::from(*slow).into();
            }
            left = left && !breaks_framing(error);
            next = error.source();
        }
        let detail = "The request's body ended before it was complete.";
        let problem = Problem::new(StatusCode::BAD_REQUEST, Reason::Malformed, detail);
        if left { Self::Left(problem) } else { Self::Refused(problem) }
    }
}

/// Was it the client's bytes that were wrong, and not that no more of them came?
fn breaks_framing(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
    }
    // On HTTP/2 the library itself ends a stream or a connection that breaks the rules.
    error.downcast_ref::<h2::Error>().is_some_and(|error| !error.is_io() && !error.is_remote())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(error: impl Into<BoxError>) -> bool {
        matches!(Stop::of_body(&error.into()), Stop::Left(_))
    }

    #[test]
    fn who_goes_is_told_from_who_is_wrong() {
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe]
        {
            assert!(left(io::Error::from(kind)), "{kind}");
        }
        assert!(left("connection error"));
        assert!(!left(io::Error::from(io::ErrorKind::InvalidData)));
        assert!(!left(io::Error::from(io::ErrorKind::InvalidInput)));
        assert!(!left(h2::Error::from(h2::Reason::PROTOCOL_ERROR)));
        assert!(!left(TooSlow::Rate(1)));
    }
}
