//! `tidegate::channel` through its public API.
