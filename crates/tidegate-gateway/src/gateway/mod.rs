//! The way of a request: read, classify, wait, pass, settle.
//!
//! | File | What it holds |
//! |---|---|
//! | `settings` | [`GatewaySettings`] |
//! | `assembly` | [`Gateway`]: the limiter, the origin, and what is seen of them |
//! | `way` | one request from its head to its answer |
//! | `record` | what is known of it, for metrics and the log |
//! | `door` | for those who cannot go through it at once |
//! | `ahead` | the part of a body that is read before the door |
//! | `stop` | why a request gets no answer of the origin |
//! | `in_flight` | a request at the origin, whose client may leave |
//! | `becomes_stream` | when a gRPC call turns out to be a stream, and leaves the limiter |
//! | `unread` | answers that their clients do not read, which leave the limiter |
//! | `answer` | [`Answer`]: the body that is relayed, and when its permit goes back |

mod ahead;
mod answer;
mod assembly;
mod becomes_stream;
mod door;
mod in_flight;
mod record;
mod settings;
mod stop;
mod unread;
mod way;

pub use answer::Answer;
pub use assembly::Gateway;
pub use settings::{GatewaySettings, LimitChoice};
