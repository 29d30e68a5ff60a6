//! What changes between a client's message and the origin's, and what does not.
//!
//! | File | What it holds |
//! |---|---|
//! | `fields` | which fields of interest a head has |
//! | `headers` | hop-by-hop fields, `Forwarded`, `Via`, `Host` |
//! | `load` | what the origin says of its own load |
//! | `peers` | [`TrustedPeers`]: whose forwarding fields are believed |
//! | `tunnel` | bytes both ways after an upgrade |

pub(crate) mod fields;
pub(crate) mod headers;
pub(crate) mod load;
mod peers;
pub(crate) mod tunnel;

pub use peers::{PeersError, TrustedPeers};
