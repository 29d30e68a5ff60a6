//! What can be seen from outside: metrics, status, the access log.
//!
//! | File | What it holds |
//! |---|---|
//! | `metrics` | [`Metrics`]: what is counted while requests pass |
//! | `striped` | counts with a place for each thread |
//! | `spread` | a histogram that takes no lock |
//! | `snapshot` | what limiters and connections say of themselves when they are asked |
//! | `access_log` | [`AccessLog`]: one line for each request |
//! | `status` | the document behind `/status` |

mod access_log;
mod metrics;
mod snapshot;
mod spread;
mod status;
mod striped;

pub use access_log::{AccessLog, Line, LogFormat};
pub use metrics::{Metrics, Stage};
pub(crate) use snapshot::Snapshot;
pub use status::{MemoryStatus, Status, Why};
