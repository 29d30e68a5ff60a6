//! `tidegate demo`: a crowd before a fragile service, first without the gate, then with it.
//!
//! | File | What it holds |
//! |---|---|
//! | `story` | who comes when, and what the service can carry |
//! | `half` | one half of the story: a fresh service, perhaps a gate, the crowd |
//! | `gate` | starts and stops the gate |
//! | `figures` | what a half came to, and the table at the end |
//! | `chart` | curves over time as SVG |
//! | `page` | the page around them |
//! | `run` | arguments and the way through |

mod chart;
mod figures;
mod gate;
mod half;
mod page;
mod run;
mod story;

pub(crate) use run::{DemoArguments, run};
