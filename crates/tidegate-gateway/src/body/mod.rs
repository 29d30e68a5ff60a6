//! Bodies: how bytes come from a client, and the watch over how slowly they may move.
//!
//! | File | What it holds |
//! |---|---|
//! | `client` | [`ClientBody`]: a request's body over either protocol |
//! | `pace` | [`Pace`]: the stall timer and the least rate |

mod client;
mod pace;

pub use client::ClientBody;
pub use pace::{Pace, PaceSettings, TooSlow};

/// Any error a body can end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
