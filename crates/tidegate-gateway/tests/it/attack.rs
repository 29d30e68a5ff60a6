//! Hostile clients: slow, broken, ambiguous, greedy.
