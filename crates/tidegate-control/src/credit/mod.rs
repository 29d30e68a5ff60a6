//! How many bytes: who may take some of a common number next.
//!
//! A [`Ledger`] is a tree of numbers, for a process and whoever shares it; [`Grants`] is a chain of stages with one number.

mod account;
mod grants;
mod ledger;
mod urgency;

pub use account::{Account, Blocked};
pub use grants::{Grant, Grants, Spot};
pub use ledger::{Cause, Ledger, NodeId, Short};
pub use urgency::Urgency;
