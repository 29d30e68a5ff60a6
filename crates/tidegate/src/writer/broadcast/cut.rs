//! Why a subscriber gets nothing more, although there was more.

use std::error::Error;
use std::fmt;

/// A subscriber was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// It was too far behind, and its [`Policy`](super::Policy) is to be disconnected then. What it was behind is counted as
    /// skipped.
    Behind {
        /// By so many items.
        items: u64,
        /// And bytes.
        bytes: u64,
    },
    /// The [`Broadcast`](super::Broadcast) was dropped before it was finished. What had been published came before this.
    Unfinished,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { items, bytes } => {
                write!(f, "disconnected, being {items} items and {bytes} bytes behind")
            }
            Self::Unfinished => f.write_str("the broadcast broke off"),
        }
    }
}

impl Error for Cut {}
