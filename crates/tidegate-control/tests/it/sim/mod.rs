//! A small discrete-event simulation: clients that do not wait for each other, gates as the limiter builds them, an
//! origin with workers and an unbounded inner queue. Deterministic for a seed.
//!
//! The gate hears only what the real limiter can observe.

mod chance;
mod gate;
mod goodput;
mod scenario;
mod world;
