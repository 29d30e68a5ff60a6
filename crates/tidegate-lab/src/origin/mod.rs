//! A fragile service: a few workers, and a queue that keeps working for clients that left.
//!
//! | File | What it holds |
//! |---|---|
//! | `workers` | the model of the workers: who is served when |
//! | `server` | HTTP around it, and `/.lab/stats` and `/.lab/set` |

mod server;
mod workers;

pub use server::Origin;
pub use workers::{OriginSettings, OriginStats};
