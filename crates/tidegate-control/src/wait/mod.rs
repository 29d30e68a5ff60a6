//! How long? The pace at which the queue is served, what follows from it, and how true that was.

mod calibration;
mod drain;
mod throughput;
mod turnover;

pub use calibration::{Calibration, Coverage};
pub use drain::{DrainRate, Prediction};
pub use throughput::Throughput;
pub use turnover::Turnover;
