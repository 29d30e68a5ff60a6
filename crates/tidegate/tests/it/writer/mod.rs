//! `tidegate::writer` through its public API.
