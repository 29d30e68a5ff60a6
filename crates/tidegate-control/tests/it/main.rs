//! Laws of the control crate, checked against naive models and a simulated service.
