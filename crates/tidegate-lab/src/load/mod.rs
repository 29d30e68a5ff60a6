//! Load: arrivals that do not wait for answers, or clients in a closed loop.
//!
//! | File | What it holds |
//! |---|---|
//! | `plan` | when each request is due, from the seed alone |
//! | `client` | one request over a kept-alive connection |
//! | `pace` | sends each request at its moment |
//! | `run` | what is sent, and what every request does |
//! | `report` | what came of it |

mod client;
mod pace;
mod plan;
mod report;
mod run;

pub use plan::Arrivals;
pub use report::{Latencies, Report, Second};
pub use run::{Crowd, Live, LoadError, LoadSettings, NAIVE_PAUSE, Retry, Run, run};
