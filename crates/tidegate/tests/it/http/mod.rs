//! Answers, bodies and deadlines in HTTP's own types.
//!
//! | File | What it shows |
//! |---|---|
//! | `body` | a permit that is held until the body's end |
//! | `client` | the layers for clients around hyper-util, over real sockets |
//! | `frames` | a body whose frames come one by one |
//! | `stack` | layers together, in axum's router and behind hyper's server |

mod body;
mod client;
mod frames;
mod stack;
