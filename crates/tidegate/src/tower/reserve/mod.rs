//! tower's strict contract, with a hold that lapses.
//!
//! | File | What it holds |
//! |---|---|
//! | `service` | [`ReserveLayer`], [`Reserve`]: `poll_ready` takes the permit that `call` uses |
//! | `holds` | the permits that are held between the two, and the task that ends what lapses |

mod holds;
mod service;

pub use service::{Reserve, ReserveLayer};
