//! Open-loop load: arrivals that do not wait for answers.
//!
//! | File | What it holds |
//! |---|---|
//! | `plan` | when each request is due, from the seed alone |
//! | `client` | one request over a kept-alive connection |
//! | `run` | sends the plan |
//! | `report` | what came of it |

mod client;
mod plan;
mod report;
mod run;

pub use plan::Arrivals;
pub use report::{Latencies, Report, Second};
pub use run::{LoadError, LoadSettings, run};
