//! The places where programs overrun, each with a bound that can be asked (feature `gate`).
//!
//! | Part | What it bounds |
//! |---|---|
//! | [`accept`] | connections: a permit before each `accept()`, linked to what the service can serve (unix) |

#[cfg(unix)]
pub mod accept;

#[cfg(unix)]
pub use accept::Accept;
