//! `tidegate::budget` through its public API.

mod fair;
mod lease;
mod leased;
mod model;
mod stress;
mod wait;
