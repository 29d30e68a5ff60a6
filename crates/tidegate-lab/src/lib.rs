//! A laboratory for overload protection: a fragile origin, an open-loop load generator, and HTTP/2 frame by frame.
//!
//! All speak over real sockets, so that any proxy can stand between them.
//!
//! | Module | What it does |
//! |---|---|
//! | [`origin`] | a service with a few workers and a queue that keeps working for clients that left |
//! | [`load`] | arrivals that do not wait for answers, the same for the same seed |
//! | [`frames`] | HTTP/2 as no client library would send it |
//! | [`spec`] | durations, rates and distributions as people write them |
//! | [`attack`] | peers that take more than they give, to see what a server holds for them |
//! | `clock` | nanoseconds, and waiting to a few microseconds |
//! | `io` | tokio sockets as hyper wants them |
//! | `random` | one seeded generator |

/// Header in which the load generator tells the origin when its client gives up, in microseconds of unix time.
/// A proxy that works on for clients that left, and keeps its connection to the origin, could not be seen
/// otherwise. Both run on one machine and so on one clock.
const GONE_AT: &str = "lab-gone-at";

pub mod attack;
mod clock;
pub mod frames;
mod io;
pub mod load;
pub mod origin;
mod random;
pub mod spec;
