//! What accept(2) says when it fails.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// No connection will come any more.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The limiter of the connections, or the one they are linked to, is draining.
    Draining,
    /// The listener itself is of no use any more: closed, shut down, or no listening socket.
    Listener(io::Error),
}

impl AcceptError {
    /// Is this the regular end, a drain?
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        matches!(self, Self::Draining)
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("no connection is accepted any more: draining"),
            Self::Listener(error) => write!(f, "the listener cannot be used any more: {error}"),
        }
    }
}

impl Error for AcceptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Draining => None,
            Self::Listener(error) => Some(error),
        }
    }
}

/// What to do about a failed accept(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Somebody else took the connection.
    Nobody,
    /// It concerned the one connection: go on. Linux hands its pending network errors over here (accept(2)).
    Connection,
    /// Something has run short: go on later.
    Shortage,
    /// It will be the same for ever.
    Listener,
}

impl Fault {
    pub(super) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::Nobody,
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP) => Self::Listener,
            Some(
                Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::CONNREFUSED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::TIMEDOUT,
            ) => Self::Connection,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM; EPERM, which a security module may say without taking the connection out
            // of the queue, so that going on at once would spin; and for what nobody thought of, later is the safe answer.
            _ => Self::Shortage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_answer() {
        for (errno, fault) in [
            (Errno::WOULDBLOCK, Fault::Nobody),
            (Errno::CONNABORTED, Fault::Connection),
            (Errno::PERM, Fault::Shortage),
            (Errno::MFILE, Fault::Shortage),
            (Errno::NFILE, Fault::Shortage),
            (Errno::NOBUFS, Fault::Shortage),
            (Errno::NOMEM, Fault::Shortage),
            (Errno::NOSPC, Fault::Shortage),
            (Errno::INVAL, Fault::Listener),
            (Errno::BADF, Fault::Listener),
        ] {
            assert_eq!(Fault::of(&errno.into()), fault, "{errno:?}");
        }
    }
}
