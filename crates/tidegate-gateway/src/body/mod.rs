//! Bodies: how bytes come from a client, and the watch over how slowly they may move.
//!
//! | File | What it holds |
//! |---|---|
//! | `client` | [`ClientBody`]: a request's body over either protocol |
//! | `received` | the body of an HTTP/2 message, from either side |
//! | `pace` | [`Pace`]: the stall timer and the least rate |

mod client;
mod pace;
mod received;

pub use client::ClientBody;
pub(crate) use received::Received;

pub use pace::{Pace, PaceSettings, TooSlow};

/// Any error a body can end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
