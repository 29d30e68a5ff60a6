//! [`Failed`]: a stage's function could not do its work.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::channel::Weigh;

/// Any error.
pub(super) type AnyError = Box<dyn Error + Send + Sync + 'static>;

/// A function could not do its work on an item, which it may give back.
///
/// Any error becomes one with `?`; the item is gone then. Given [back](Self::give_back) the item can be tried again
/// or sent on, as its [`Stage`](super::Stage) says.
///
/// ```
/// use tidegate::pipeline::Failed;
///
/// fn parse(line: String) -> Result<u64, Failed<String>> {
///     line.parse::<u64>().map_err(|error| Failed::give_back(line, error))
/// }
/// let failed = parse("seven".to_owned()).unwrap_err();
/// assert_eq!(failed.to_string(), "invalid digit found in string");
/// assert_eq!(failed.into_item().as_deref(), Some("seven"));
/// ```
pub struct Failed<T> {
    item: Option<T>,
    error: AnyError,
}

impl<T> Failed<T> {
    /// Why, without the item.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        Self { item: None, error: error.into() }
    }

    /// Why, and the item itself.
    pub fn give_back(item: T, error: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        Self { item: Some(item), error: error.into() }
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    /// The item, if it was given back.
    #[must_use]
    pub fn into_item(self) -> Option<T> {
        self.item
    }

    pub(super) fn into_parts(self) -> (Option<T>, AnyError) {
        (self.item, self.error)
    }
}

// It is no `Error` itself, or this would be the conversion of a type into itself.
impl<T, E: Error + Send + Sync + 'static> From<E> for Failed<T> {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl<T> fmt::Display for Failed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> fmt::Debug for Failed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut failed = f.debug_struct("Failed");
        failed.field("error", &self.error).field("gave_back", &self.item.is_some()).finish()
    }
}

/// An item that nothing could be made of, and why; what a [dead letter channel](super::Stage::dead_letters) carries.
#[non_exhaustive]
pub struct DeadLetter<T> {
    /// The item.
    pub item: T,
    /// The last error.
    pub error: Box<dyn Error + Send + Sync + 'static>,
    /// The stage that failed.
    pub stage: Arc<str>,
}

impl<T> fmt::Debug for DeadLetter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letter = f.debug_struct("DeadLetter");
        letter.field("stage", &self.stage).field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T: Weigh> Weigh for DeadLetter<T> {
    fn weight(&self) -> u64 {
        self.item.weight()
    }
}
