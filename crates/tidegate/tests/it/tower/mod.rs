//! Layers for tower services.
//!
//! | File | What it shows |
//! |---|---|
//! | `limit` | what `Limit` does |
//! | `reserve` | what `Reserve` does |
//! | `pushback`, `restrain`, `retry` | what the layers for clients do |
//! | `allocations` | that admission allocates nothing |
//! | `defects` | what other crates do wrong, shown on them, and that it is not so here |
//! | `work` | services that last as long as a test wants them to |

mod allocations;
mod defects;
mod limit;
mod pushback;
mod reserve;
mod restrain;
mod retry;
mod work;
