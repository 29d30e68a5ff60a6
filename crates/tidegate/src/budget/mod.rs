//! One number for every byte that a process holds for its peers.
