//! How long? The pace at which the queue is served, what follows from it, and how true that was.

mod calibration;
mod drain;
mod throughput;

pub use calibration::{Calibration, Coverage};
pub use drain::{DrainRate, Prediction};
pub use throughput::Throughput;
