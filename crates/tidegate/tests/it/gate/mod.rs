//! The places where programs overrun.

#[cfg(unix)]
mod accept;
#[cfg(unix)]
mod accept_stress;
#[cfg(unix)]
mod descriptors;
