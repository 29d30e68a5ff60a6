//! The gateway: a reverse proxy that finds out how much an HTTP service can carry and keeps it there.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`listen`] | clients: HTTP/1, HTTP/2, TLS |
//! | [`classify`] | what a request is: class, kind, deadline |
//! | [`gateway`] | the way of a request through the door to the origin |
//! | [`origin`] | the service behind: connections and exchanges |
//! | [`relay`] | heads on their way, tunnels |
//! | [`refuse`] | what a refused client is told |
//! | [`observe`] | metrics, status, access log |
//! | [`body`] | bytes from clients, and how slowly they may move |
//! | [`memory`] | one number for every byte held for peers |
//! | [`tls`] | certificates |
//! | [`config`] | one file, the same words as the flags |
//! | [`admin`] | what operators ask |
//!
//! [`Running`] is all of it together.

pub mod admin;
mod beyond;
pub mod body;
mod buffer_lock;
pub mod classify;
pub mod config;
pub mod gateway;
mod inflow;
mod late;
pub mod listen;
pub mod memory;
pub mod observe;
pub mod origin;
mod receive;
pub mod refuse;
pub mod relay;
mod run;
mod sight;
mod socket;
mod timer;
pub mod tls;
mod unsent;
mod untried;
mod wide;

pub use run::{Running, StartError};
