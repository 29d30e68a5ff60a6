//! The limiter: what enforces a limit, and what its callers hold in their hands.
//!
//! | File | What it holds |
//! |---|---|
//! | `free` | the word of free units: one compare-and-swap in, one addition out |
//! | `core` | what the lock protects: the queue, the algorithm, the pace, the holders |
//! | `admission` | at once, after a wait, or not at all |
//! | `limiter` | [`Limiter`]: ask, take, operate |
//! | `builder` | [`LimiterBuilder`], [`QueueConfig`] |
//! | `run` | work under a permit, from admission to outcome |
//! | `permit` | [`Permit`]: held capacity |
//! | `ticket` | [`Ticket`]: a place in the queue |
//! | `occupants` | [`Occupant`], [`LimiterStats`] |

mod admission;
mod builder;
mod core;
mod free;
#[allow(clippy::module_inception)] // the file is named for the type it holds
mod limiter;
mod occupants;
mod permit;
mod run;
mod ticket;

pub use admission::Admission;
pub use builder::{ConfigError, LimiterBuilder, QueueConfig};
pub use limiter::Limiter;
pub use occupants::{LimiterStats, Occupant};
pub use permit::Permit;
pub use run::RunError;
pub use ticket::{Ticket, TicketId, TryClaimError};
