//! [`OriginError`]: why there is no answer of the service behind.

use crate::body::BoxError;

/// What went wrong on the way to the service behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginErrorKind {
    /// No connection: refused, unreachable, no such name or socket, no trust in its certificate.
    DialFailed,
    /// No connection in time.
    DialTimeout,
    /// No answer in time.
    HeadTimeout,
    /// The connection broke before the answer was complete.
    Reset,
    /// What came was not HTTP.
    Protocol,
    /// The answer paused for too long.
    BodyStalled,
    /// The client's body ended early: not the service's fault.
    ClientBody,
    /// There was no open file for a connection: not the service's fault either.
    OpenFiles,
}

/// There is no (complete) answer of the service behind.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .kind.what())]
pub struct OriginError {
    kind: OriginErrorKind,
    source: BoxError,
}

impl OriginError {
    pub(crate) fn new(kind: OriginErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: source.into() }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> OriginErrorKind {
        self.kind
    }

    pub(super) fn of_hyper(error: hyper::Error) -> Self {
        let kind = if error.is_user() {
            OriginErrorKind::ClientBody
        } else if error.is_parse() {
            OriginErrorKind::Protocol
        } else {
            OriginErrorKind::Reset
        };
        Self::new(kind, error)
    }
}

impl OriginErrorKind {
    fn what(self) -> &'static str {
        match self {
            Self::DialFailed => "no connection to the origin",
            Self::DialTimeout => "no connection to the origin in time",
            Self::HeadTimeout => "no answer of the origin in time",
            Self::Reset => "the origin's connection broke",
            Self::Protocol => "the origin's answer is not HTTP",
            Self::BodyStalled => "the origin's answer paused for too long",
            Self::ClientBody => "the client's body ended early",
            Self::OpenFiles => "no open file for a connection to the origin",
        }
    }
}
