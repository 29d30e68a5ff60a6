//! Gates before the places where programs overrun.

#[cfg(unix)]
mod accept;
mod blocking;
mod crowd;
mod device;
#[cfg(any(unix, windows))]
mod file;
mod makes;
mod pool;
mod runtimes;
mod strict;
