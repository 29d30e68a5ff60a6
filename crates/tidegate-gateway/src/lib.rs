//! A reverse proxy that finds out how much an HTTP service can carry and keeps it there.
//!
//! The modules are the way of a request, in the order it walks them.
//!
//! | Module | What it does |
//! |---|---|
//! | [`config`] | one set of settings, from flags and one TOML file |
//! | [`listen`] | accepts connections, speaks HTTP/1.1 and HTTP/2, TLS, watches for clients that go |
//! | [`classify`] | who, how urgent, which kind of work |
//! | [`door`] | admit, wait, or refuse |
//! | [`origin`] | connections to the service behind the gate |
//! | [`relay`] | bodies, headers and tunnels between the two |
//! | [`refuse`] | the answers that are ours to write |
//! | [`observe`] | metrics and the access log |
//! | [`admin`] | `/metrics`, `/status`, `/ready`, `/healthz` |

pub mod admin;
pub mod classify;
pub mod config;
pub mod door;
mod error;
pub mod listen;
pub mod observe;
pub mod origin;
pub mod refuse;
pub mod relay;

pub use error::BoxError;
