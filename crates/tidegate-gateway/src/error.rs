//! The error type that bodies and connections share.

/// Any error that can cross a task; the concrete errors of this crate are found in it by downcast.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
