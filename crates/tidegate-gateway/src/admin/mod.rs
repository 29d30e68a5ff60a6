//! What operators and orchestrators ask: `/metrics`, `/status`, `/ready`, `/healthz`.
//!
//! | File | What it holds |
//! |---|---|
//! | `pages` | [`Admin`]: the pages |

mod pages;

pub use pages::Admin;
