//! A fragile service: a few workers, and a queue that keeps working for clients that left.
//!
//! | File | What it holds |
//! |---|---|
//! | `workers` | the model of the workers: who is served when |
//! | `floor` | the one thread that lets their time pass, to a few microseconds |
//! | `server` | HTTP around it, and `/.lab/…` |
//! | `bulk` | bodies as large as asked for, and uploads that nobody reads |

mod bulk;
mod floor;
mod server;
mod workers;

pub use server::{Origin, Watch};
pub use workers::{OriginSettings, OriginStats};
