//! How many bytes? A tree of accounts in which every byte is charged to its account and to all above it.

mod ledger;
mod urgency;

pub use ledger::{Account, Cause, Ledger, Short};
pub use urgency::Urgency;
