//! The origin side alone, against servers of the test's own.
