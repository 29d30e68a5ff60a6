//! The limiter through its public API.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[cfg(feature = "actix")]
mod actix;
mod adaptive;
mod answers;
#[cfg(feature = "stream")]
mod budget;
#[cfg(feature = "stream")]
mod channel;
#[cfg(feature = "gate")]
mod gate;
#[cfg(feature = "http")]
mod http;
mod limiter;
#[cfg(feature = "http")]
mod matrix;
mod model;
#[cfg(feature = "stream")]
mod pipeline;
mod stress;
#[cfg(feature = "tower")]
mod tower;
mod trio;
mod wait;
#[cfg(feature = "stream")]
mod writer;
