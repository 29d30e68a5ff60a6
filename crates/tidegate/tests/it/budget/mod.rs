//! `tidegate::budget` through its public API.
