//! Laws of the control crate, checked against naive models.

mod limit;
mod queue;
