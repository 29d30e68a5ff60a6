//! Why an item was not published.

use std::error::Error;
use std::fmt;

use crate::budget::Full;

/// An item was not published. It is here.
#[derive(Clone)]
#[non_exhaustive]
pub struct Unpublished<T> {
    /// What was to be published.
    pub item: T,
    /// Why it was not.
    pub why: Why,
}

/// Why an item was not published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Why {
    /// It has more bytes than [may be](super::Builder::max_item).
    TooHeavy {
        /// Its bytes, with what it costs itself.
        weight: u64,
        /// The most there may be.
        max_item: u64,
    },
    /// The [budget](super::Builder::budget) has no bytes for it now.
    Memory(Full),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooHeavy { weight, max_item } => {
                write!(f, "an item of {weight} bytes, where {max_item} are allowed")
            }
            Self::Memory(full) => full.fmt(f),
        }
    }
}

impl<T> fmt::Display for Unpublished<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<T> fmt::Debug for Unpublished<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpublished").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<T> Error for Unpublished<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Memory(full) => Some(full),
            Why::TooHeavy { .. } => None,
        }
    }
}
