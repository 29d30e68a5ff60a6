//! A channel bounded in bytes and items, in which nothing is lost silently.
