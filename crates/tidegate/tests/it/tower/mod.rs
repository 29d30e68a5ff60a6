//! Layers for tower services.
//!
//! | File | What it shows |
//! |---|---|
//! | `limit` | what `Limit` does |
//! | `defects` | what other crates do wrong, shown on them, and that it is not so here |
//! | `work` | services that last as long as a test wants them to |

mod defects;
mod limit;
mod work;
