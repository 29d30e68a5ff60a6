//! Connections to the service behind the gate.
