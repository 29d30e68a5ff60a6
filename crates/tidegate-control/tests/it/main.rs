//! Laws of the control crate, checked against naive models.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod credit;
mod knee;
mod knee_laws;
mod limit;
mod queue;
mod sim;
