//! Gates before the places where programs overrun (feature `gate`).
//!
//! Each of them has an end of its own to what it takes, and a way to wait that nobody can ask about. A gate stands
//! before it: a [`Limiter`](crate::Limiter) that knows how much there is, lets that much in, and tells everybody else
//! at once.
//!
//! | Part | What it stands before |
//! |---|---|
//! | [`accept`] | connections: a permit before each `accept()`, linked to what the service can serve (unix) |
//! | [`PoolGate`] | a pool of connections, of whatever make |
//! | [`Blocking`] | the threads of `spawn_blocking`, and what waits for them |
//! | [`Files`] | files, whose reads and writes block a thread each |

#[cfg(unix)]
pub mod accept;
pub mod blocking;
#[cfg(any(unix, windows))]
pub mod file;
mod pool;

#[cfg(unix)]
pub use accept::Accept;
pub use blocking::Blocking;
#[cfg(any(unix, windows))]
pub use file::Files;
pub use pool::{PoolError, PoolGate, PoolGateBuilder, Pooled};
