//! Who asks, how urgent it is, and which kind of work it is.
//!
//! Everything here is read from the request's head alone, before any of its body. What a client says about
//! itself may lower its place (a prefetch, a low priority) but never raise it: a header costs nothing.

mod criticality;
mod kind;

pub use criticality::criticality_of;
pub use kind::kind_of;
pub use tidegate::http::time_left;
