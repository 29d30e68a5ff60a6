//! Who asks, how urgent it is, and which kind of work it is.
