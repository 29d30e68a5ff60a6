//! Middleware for actix-web.
//!
//! | File | What it shows |
//! |---|---|
//! | `limit` | what `Limit` does in an application |
//! | `gone` | behind actix's own server: clients that go, workers that share |

mod gone;
mod limit;
