//! Refusals as a client sees them: the status, the reason, and when to come back.
//!
//! | File | What it holds |
//! |---|---|
//! | `reasons` | what is said: a [`Problem`](tidegate::http::Problem), also where no limiter refused |
//! | `audience` | how it is said: problem+json, a page for a person, gRPC |

mod audience;
mod reasons;

pub use audience::Audience;
pub(crate) use audience::is_grpc;
pub(crate) use reasons::{no_memory, no_place_for_a_stream, problem_of};
