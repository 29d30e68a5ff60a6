//! How many bytes: who may take some of a common number next.

mod account;
mod grants;

pub use account::{Account, Blocked};
pub use grants::{Grant, Grants, Spot};
