//! Why a pipeline was not built, and why it failed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::budget::Full;

use super::failed::AnyError;

/// A pipeline that could not run, or could get stuck: what is wrong, and what to do.
#[derive(Clone, Debug)]
pub struct PlanError {
    message: String,
    full: Option<Full>,
}

impl PlanError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), full: None }
    }

    pub(super) fn full(full: Full) -> Self {
        let message = format!("there are no bytes for one of the largest items of each stage: {full}");
        Self { message, full: Some(full) }
    }

    /// The budget's refusal, if that is all that is wrong: it may run later.
    #[must_use]
    pub fn refusal(&self) -> Option<&Full> {
        self.full.as_ref()
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for PlanError {}

/// A pipeline failed: which stage, and why. All its tasks have ended, or will at their next await.
#[derive(Clone, Debug)]
pub struct PipelineError {
    stage: Arc<str>,
    cause: Cause,
}

/// Why a stage failed the pipeline.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// Its function failed, and its stage says that this is the end.
    Failed(Arc<AnyError>),
    /// Its function panicked.
    Panicked(Arc<str>),
    /// It failed without giving the item back that was to be sent on.
    NotGivenBack(Arc<AnyError>),
    /// The dead letter was not taken.
    LetterRefused(Arc<AnyError>),
    /// The runtime ended a task.
    Stopped,
}

impl PipelineError {
    pub(super) fn new(stage: Arc<str>, cause: Cause) -> Self {
        Self { stage, cause }
    }

    /// The name of the stage that failed.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Did its function panic?
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked(_))
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = &self.stage;
        match &self.cause {
            Cause::Failed(error) => write!(f, "stage {stage:?} failed: {error}"),
            Cause::Panicked(message) => write!(f, "stage {stage:?} panicked: {message}"),
            Cause::NotGivenBack(error) => {
                write!(f, "stage {stage:?} sends failed items on, but was not given one back: {error}")
            }
            Cause::LetterRefused(error) => {
                write!(f, "stage {stage:?} could not send a failed item on: {error}")
            }
            Cause::Stopped => write!(f, "stage {stage:?} ended with its runtime"),
        }
    }
}

impl Error for PipelineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Failed(error) | Cause::NotGivenBack(error) | Cause::LetterRefused(error) => {
                Some(&***error as &(dyn Error + 'static))
            }
            Cause::Panicked(_) | Cause::Stopped => None,
        }
    }
}

/// An item weighs more than its stage [said](super::Stage::max_item), or than was reserved for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooLarge {
    /// Bytes of the item.
    pub bytes: u64,
    /// Bytes that there may be.
    pub most: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, most } = self;
        write!(f, "an item of {bytes} bytes where at most {most} were promised: raise the stage's max_item")
    }
}

impl Error for TooLarge {}
