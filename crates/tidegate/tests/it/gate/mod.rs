//! Gates before the places where programs overrun.

mod blocking;
