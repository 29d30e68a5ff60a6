//! A gate before a pool.
//!
//! | File | What it holds |
//! |---|---|
//! | `gate` | who gets a connection, and who is told to come back |
//! | `builder` | its settings |
//! | `pooled` | a connection and the permit it is held under |
//! | `error` | why there is no connection |

mod builder;
mod error;
mod gate;
mod pooled;

pub use builder::PoolGateBuilder;
pub use error::PoolError;
pub use gate::PoolGate;
pub use pooled::Pooled;
