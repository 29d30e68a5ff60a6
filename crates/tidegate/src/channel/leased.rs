//! What the receiver has in hand: an item and the bytes that it holds.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::account::Charge;
use super::sender::Sender;

/// A received item. Its bytes stay charged until this is dropped, so that the channel bounds also what is being worked on.
///
/// It can be used like the item. Dropping it drops the item, and then gives the credit back.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (sender, mut receiver) = tidegate::channel::bounded::<String>(1 << 20);
/// sender.offer("a bag".to_owned())?.into_result()?;
/// let bag = receiver.recv().await.unwrap();
/// assert_eq!(bag.len(), 5);
/// assert!(sender.snapshot().leased_bytes > 0);
/// drop(bag);
/// assert_eq!(sender.snapshot().leased_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use = "the bytes are given back when this is dropped"]
pub struct Leased<T> {
    // In this order: the item is dropped before its bytes are free.
    item: T,
    charge: Charge,
}

impl<T> Leased<T> {
    pub(super) const fn new(item: T, charge: Charge) -> Self {
        Self { item, charge }
    }

    /// Bytes charged for it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.charge.bytes()
    }

    /// The item and its bytes, each for itself.
    pub fn into_parts(self) -> (T, Charge) {
        (self.item, self.charge)
    }

    /// An item and the bytes held for it: the reverse of [`into_parts`](Self::into_parts).
    pub fn from_parts(item: T, charge: Charge) -> Self {
        Self { item, charge }
    }

    /// The item, without its bytes: they are given back although it lives on, which
    /// [`Tally::unaccounted_bytes`](super::Tally::unaccounted_bytes) counts.
    #[must_use]
    pub fn into_inner(self) -> T {
        let bytes = self.charge.bytes();
        self.charge.note(&mut |ledger| {
            ledger.tally.unaccounted_bytes = ledger.tally.unaccounted_bytes.saturating_add(bytes);
        });
        self.item
    }

    /// Splits off `bytes` (all of them, if there are fewer): see [`Charge::split`].
    pub fn split(&mut self, bytes: u64) -> Charge {
        self.charge.split(bytes)
    }

    /// Something else made of the item; the bytes charged stay the same.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Leased<U> {
        Leased { item: make(self.item), charge: self.charge }
    }

    /// Moves the charge to another channel, atomically: there is no moment at which it counts in both or in neither. The
    /// item stays in hand. A budget behind both is not asked for more. **When full:** nothing waits; it stays charged here.
    ///
    /// # Errors
    /// The lease as it was, if the other channel has no room, somebody waits there, or it takes no more.
    pub fn transfer<U: Send + 'static>(mut self, to: &Sender<U>) -> Result<Self, Self> {
        if self.charge.transfer(to.account(), to.tag()) { Ok(self) } else { Err(self) }
    }
}

impl<T> Deref for Leased<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> DerefMut for Leased<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: fmt::Debug> fmt::Debug for Leased<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("item", &self.item).field("bytes", &self.bytes()).finish()
    }
}
