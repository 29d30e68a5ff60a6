//! The gateway as a whole, between clients and an origin of the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod gone;
mod origin;
mod refusals;
mod relay;
mod stand;
mod wire;
mod wire2;
