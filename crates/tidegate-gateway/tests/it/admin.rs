//! The admin listener: what it shows, and that every documented metric moves.
