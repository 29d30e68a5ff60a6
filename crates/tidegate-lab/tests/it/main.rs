//! The fragile origin and the load generator over real sockets.
