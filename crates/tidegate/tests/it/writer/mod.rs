//! Writers, lines and broadcast, through their public API.

mod bound;
mod broadcast;
mod budget;
mod cancel;
mod lines;
mod pace;
mod share;
mod sockets;
