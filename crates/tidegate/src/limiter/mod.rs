//! The limiter: what it enforces, and what callers hold of it.
//!
//! | File | What it holds |
//! |---|---|
//! | `state` | the word callers race for |
//! | `shared` | the fast path over it, and the way to the desk |
//! | `door`, `desk`, `unserved` | the slow path: what is decided under one lock, and what that lock protects |
//! | `lane` | the short ways past the desk, where there is nothing to decide |
//! | `seat` | one waiting caller's seat: where its answer is left |
//! | `seats`, `grants` | all seats, and the answers that nobody has taken yet |
//! | `alarm`, `ringer` | one alarm for all who wait a moment only, and who rings it |
//! | `outlook`, `service` | how long, and when to come back |
//! | `limiter`, `builder` | the public face |
//! | `permit`, `ticket`, `acquire` | what callers hold |
//! | `first` | one permit to a holder, where that was asked for |
//! | `census`, `occupants`, `stats`, `watch` | what can be asked |

mod acquire;
mod alarm;
mod builder;
mod census;
mod desk;
mod door;
mod first;
mod grants;
mod lane;
#[allow(clippy::module_inception)] // the folder is the concept, the file its main type
mod limiter;
mod occupants;
mod outlook;
mod permit;
mod ringer;
mod seat;
mod seats;
mod service;
mod shared;
mod state;
mod stats;
mod ticket;
mod unserved;
mod watch;

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod brisk_tests;
#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod foreign_tests;
#[cfg(test)]
#[cfg(tidegate_loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod ringer_tests;
#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests;
#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod timed_tests;

pub use acquire::{Acquire, RunError};
pub use builder::{ConfigError, LimiterBuilder, QueueConfig};
pub use census::Occupants;
pub use limiter::Limiter;
pub use occupants::Occupant;
pub use permit::Permit;
pub use service::ServiceTime;
pub use stats::LimiterStats;
pub use ticket::{Admission, Ticket, TicketId, TryClaimError};
pub use tidegate_control::wait::Coverage;
pub use watch::{Drained, ReadinessWatch};
