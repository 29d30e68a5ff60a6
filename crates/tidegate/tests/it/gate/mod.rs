//! Gates before the places where programs overrun.

mod blocking;
mod crowd;
mod device;
#[cfg(any(unix, windows))]
mod file;
mod runtimes;
