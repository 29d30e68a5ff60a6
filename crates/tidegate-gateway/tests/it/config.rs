//! Configuration files: what is understood, and what a mistake is answered with.
