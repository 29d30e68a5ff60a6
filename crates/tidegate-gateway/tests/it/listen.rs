//! The listener alone, with a service of the test's own.
