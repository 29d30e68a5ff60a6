//! How long? The pace at which the queue is served, and what follows from it.

mod drain;

pub use drain::{DrainRate, Prediction};
