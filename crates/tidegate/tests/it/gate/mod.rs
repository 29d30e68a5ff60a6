//! Gates before the places where programs overrun.

mod makes;
mod pool;
mod strict;
