//! Why there is no connection.

use std::error::Error;
use std::fmt;

use crate::refused::Refused;

/// A [`PoolGate`](super::PoolGate) gave no connection.
///
/// [`Refused::find`] sees through it: a layer that turns refusals into answers needs to know nothing of pools.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolError<E> {
    /// The gate said no, or the pool did not give in time.
    Refused(Refused),
    /// The pool's own error.
    Pool(E),
}

impl<E: fmt::Display> fmt::Display for PoolError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Pool(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for PoolError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Pool(error) => Some(error),
        }
    }
}

impl<E> From<Refused> for PoolError<E> {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
