//! The answers that are ours to write.
