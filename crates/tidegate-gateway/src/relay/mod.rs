//! What changes between a client's message and the origin's, and what does not.
//!
//! | File | What it holds |
//! |---|---|
//! | `fields` | which fields of interest a head has |
//! | `forwards` | how far OPTIONS and TRACE may go |
//! | `headers` | hop-by-hop fields, `Forwarded`, `Via`, `Host` |
//! | `load` | what the origin says of its own load |
//! | `tunnel` | bytes both ways after an upgrade |

pub(crate) mod fields;
pub(crate) mod forwards;
pub(crate) mod headers;
pub(crate) mod load;
pub(crate) mod tunnel;

pub use crate::listen::peers::{PeersError, TrustedPeers};
