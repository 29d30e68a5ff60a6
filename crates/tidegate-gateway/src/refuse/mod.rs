//! Refusals as a client sees them: the status, the reason, and when to come back.
//!
//! | File | What it holds |
//! |---|---|
//! | `refusal` | [`Refusal`]: what is said |
//! | `spread` | moments to come back while nothing better is known |
//! | `render` | how it is said: problem+json, a page for a person, gRPC |

mod refusal;
mod render;
mod spread;

pub use refusal::Refusal;
pub use render::Audience;
pub(crate) use render::is_grpc;
pub(crate) use spread::Spread;
