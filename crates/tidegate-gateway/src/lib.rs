//! The parts of a gateway in front of an HTTP service.
//!
//! | Module | What it does |
//! |---|---|
//! | [`classify`] | how urgent a request is, which kind of work it is, how long its client will wait |

pub mod classify;
