//! A client that asks less of a server which refuses most of it.
//!
//! | File | What it holds |
//! |---|---|
//! | `ledger` | what was asked and what was accepted over the last two minutes, and what share to hold back |
//! | `layer` | [`RestrainLayer`]: what is to be done |
//! | `service` | [`Restrain`]: the call |

mod layer;
mod ledger;
mod service;

pub use layer::RestrainLayer;
pub use service::{Restrain, RestrainFuture};
