//! The places where programs overrun.

#[cfg(unix)]
mod accept;
//! Gates before the places where programs overrun.

mod makes;
mod pool;
mod strict;
