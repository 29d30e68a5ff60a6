//! The operator's listener: metrics, status, readiness.
