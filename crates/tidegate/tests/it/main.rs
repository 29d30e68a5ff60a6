//! The limiter under stress, through its public API.
