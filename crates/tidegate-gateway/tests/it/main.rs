//! The gateway over real sockets. One binary; one file per topic.

mod admin;
mod attack;
mod config;
mod listen;
mod origin;
mod relay;
mod way;
