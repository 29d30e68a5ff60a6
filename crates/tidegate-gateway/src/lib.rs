//! The gateway: a reverse proxy that finds out how much an HTTP service can carry and keeps it there.

pub mod body;
pub mod classify;
pub mod listen;
pub mod origin;
mod socket;
pub mod tls;
