//! Bodies, headers and tunnels across the gate.
