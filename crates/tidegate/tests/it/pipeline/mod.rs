//! `tidegate::pipeline` through its public API.
