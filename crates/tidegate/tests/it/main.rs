//! The limiter through its public API.

mod adaptive;
mod limiter;
mod model;
mod stress;
mod wait;
