//! Stages that ask for work only when there is room behind them.
//!
//! A [`Pipeline`] has a source, stages and a sink. Each stage works on so many items at a time, in tasks of its own;
//! nothing is polled by whoever waits for it. What is under way is bounded in bytes, between each two stages and for
//! the whole pipeline together ([`Plan::bytes`], [`Plan::budget`]).
//!
//! - **Demand first:** the source is asked for an item when the first stage can use it (and [a little
//!   more](SATURATION)), and a stage's function is called when there is room for what it will make. Nothing is
//!   started that nobody can use.
//! - **It cannot get stuck:** each stage has the bytes of its largest item for itself, whoever is further downstream
//!   is served first, and a plan that has too few bytes for that is refused. The argument is in
//!   `docs/decisions/0008-pipelines-cannot-deadlock.md`.
//! - **When full**, whoever is upstream waits; nothing is dropped. With a [deadline](Plan::deadline), what is late is
//!   dropped and counted, and the source is not asked for what would be late.
//! - **Everything is accounted for:** what a stage took was [passed, dropped for a reason, or interrupted](Ledger), and
//!   what no function had been given when the pipeline ended comes [back](Ended::left).
//! - **Ends:** [`Running::finish`] waits for the end of the source, [`Running::drain`] stops it, [`Running::abort`]
//!   ends all tasks and waits for that. A function that fails or panics ends the pipeline with an error, unless its
//!   stage says otherwise.
//! - **Cancelling** any of these waits changes nothing; dropping [`Running`] aborts.
//! - **Where the time goes:** [`Snapshot`] has the [shares](Shares) of each stage's time, and the [`Bottleneck`].
//!
//! The guide's page is `docs/guide/pipelines.md`.
//!
//! | File | What it holds |
//! |---|---|
//! | `build`, `stage`, `plan` | [`Pipeline`], [`Stage`], [`Plan`]: how one is put together |
//! | `accounts` | how many bytes there are for whom, and whether that is enough |
//! | `engine`, `room` | who holds what, who waits; room, and the turn of an item |
//! | `purse` | where its bytes come from when it lives on a budget |
//! | `line` | what waits between two stages |
//! | `worker`, `each`, `care` | a task, the way of an item through it, what happens when it fails |
//! | `source`, `map`, `expand`, `gather`, `blocking` | the kinds of stages |
//! | `fate`, `running`, `ended`, `hand_back` | how it ends, and what comes back then |
//! | `ledger`, `shares`, `snapshot` | what became of everything, and where the time went |

mod accounts;
mod batch;
mod blocking;
mod build;
mod care;
mod each;
mod ended;
mod engine;
mod error;
mod expand;
mod failed;
mod fate;
mod gather;
mod hand_back;
mod ledger;
mod line;
mod map;
mod plan;
mod purse;
mod retry;
mod room;
mod running;
mod shares;
mod snapshot;
mod source;
mod stage;
mod unheard;
mod worker;

#[cfg(test)]
#[cfg(tidegate_loom)]
mod loom_tests;

pub use accounts::SATURATION;
pub use batch::Batch;
pub use build::Pipeline;
pub use ended::{Ended, Left};
pub use error::{PipelineError, PlanError, TooLarge};
pub use expand::{Outlet, Room};
pub use failed::{DeadLetter, Failed};
pub use ledger::Ledger;
pub use plan::Plan;
pub use retry::Retry;
pub use running::Running;
pub use shares::Shares;
pub use snapshot::{Bottleneck, Snapshot, StageSnapshot};
pub use source::Source;
pub use stage::Stage;
