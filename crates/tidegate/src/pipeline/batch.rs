//! [`Batch`]: items side by side, and what they weigh together.

use std::ops::Deref;

use crate::channel::Weigh;

/// Items that were gathered into one, in the order in which they came; at least one.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::pipeline::{Pipeline, Stage};
///
/// let plan = Pipeline::from_iter(Stage::new("numbers"), 1..=7_u64)
///     .batch(Stage::new("threes"), 3)
///     .sink(Stage::new("sum"), |batch| async move {
///         assert!(batch.len() <= 3);
///         Ok(println!("{}", batch.iter().sum::<u64>()))
///     });
/// assert_eq!(plan.run()?.finish().await?.delivered(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    items: Vec<T>,
    bytes: u64,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bytes: 0 }
    }
}

impl<T> Batch<T> {
    pub(super) fn push(&mut self, item: T, bytes: u64) {
        self.items.push(item);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The items.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }
}

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

/// What the items were charged before they were gathered.
impl<T> Weigh for Batch<T> {
    fn weight(&self) -> u64 {
        self.bytes
    }
}
