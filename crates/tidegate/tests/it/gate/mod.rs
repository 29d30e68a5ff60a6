//! Gates before the places where programs overrun.

mod blocking;
#[cfg(any(unix, windows))]
mod file;
