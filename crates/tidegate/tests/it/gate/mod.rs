//! The places where programs overrun.

#[cfg(unix)]
mod accept;
