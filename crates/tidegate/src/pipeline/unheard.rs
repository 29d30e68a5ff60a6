//! What was asked of a stage that cannot do it: said before it runs, not passed over.

use super::accounts::Kind;
use super::stage::{Otherwise, Stage};

/// An option that a stage of this kind does not heed, and why.
pub(super) type Unheard = (&'static str, &'static str);

/// The first of them, if any.
pub(super) fn unheard<T>(stage: &Stage<T>, kind: Kind) -> Option<Unheard> {
    let fails = match kind {
        Kind::Each | Kind::Sink => None,
        Kind::Source => Some("a source that fails fails the pipeline"),
        Kind::Batch => Some("a batch calls no function, so that nothing can fail in it"),
        Kind::Fold => Some(
            "what was made of the items before is lost with one that fails, so that it fails the pipeline",
        ),
    };
    let otherwise = match stage.otherwise {
        Otherwise::Fail => None,
        Otherwise::Skip => Some("skip_failed"),
        Otherwise::DeadLetter(_) => Some("dead_letters"),
    };
    let of_failures = stage.retry.as_ref().map(|_| "retry").or(otherwise);
    let gathers = matches!(kind, Kind::Batch | Kind::Fold);
    let linger = stage.linger.filter(|_| !gathers).map(|_| "linger");
    let in_bytes = stage.in_bytes.filter(|_| kind == Kind::Source).map(|_| "in_bytes");
    of_failures
        .zip(fails)
        .or(linger.map(|option| (option, "only a batch or a fold waits for more")))
        .or(in_bytes.map(|option| (option, "nothing comes into a source; the stage after it takes in bytes")))
}
