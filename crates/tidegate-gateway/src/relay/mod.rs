//! Bodies, headers and tunnels between client and origin.
