//! [`LeasedBytes`]: bytes together with the lease for them.

use std::fmt;
use std::ops::Deref;

use bytes::{Buf, Bytes};

use super::full::Full;
use super::lease::Lease;
use super::node::Budget;

/// Bytes, and the lease that stands for their memory: it ends when the last of them is gone.
///
/// [`into_bytes`](Self::into_bytes) hides the lease inside the [`Bytes`]: whoever takes `Bytes` then carries it along, and
/// it ends with the last clone or slice of them, wherever that is.
///
/// **Parents.** A small slice keeps the whole buffer alive that it was cut from. So lease the buffer, once, as early as it
/// is read, and cut afterwards: every slice then keeps the lease of the whole alive, which is what the memory does. Where
/// few bytes of a large buffer are kept for long, [`compact`](Self::compact) copies them out.
///
/// ```
/// use bytes::Bytes;
/// use tidegate::budget::{Budget, LeasedBytes};
///
/// let budget = Budget::new("bodies", 1000);
/// let whole = LeasedBytes::lease(&budget, Bytes::from(vec![7; 600])).unwrap().into_bytes();
/// let slice = whole.slice(..10);
/// drop(whole);
/// assert_eq!(budget.used(), 600); // the slice keeps all of it
/// drop(slice);
/// assert_eq!(budget.used(), 0);
/// ```
#[derive(Debug)]
pub struct LeasedBytes {
    // The order is the order of dropping.
    bytes: Bytes,
    lease: Lease,
}

impl LeasedBytes {
    /// `bytes` under a lease that was taken for them.
    #[must_use]
    pub fn new(bytes: Bytes, lease: Lease) -> Self {
        Self { bytes, lease }
    }

    /// `bytes` under a lease of what they keep alive: the whole rest of their buffer where that is known, that is where
    /// nobody else holds a part of it; else their length.
    ///
    /// # Errors
    /// The bytes, if there is no room for them.
    pub fn lease(budget: &Budget, bytes: Bytes) -> Result<Self, Unleased> {
        let (bytes, kept) = weigh(bytes);
        match budget.try_lease(kept) {
            Ok(lease) => Ok(Self { bytes, lease }),
            Err(full) => Err(Unleased { bytes, full }),
        }
    }

    /// The lease.
    pub fn held(&self) -> &Lease {
        &self.lease
    }

    /// Copies them into a buffer of their own if they keep more than twice their length alive, and gives the rest back. (Up
    /// to twice, the copy costs more than what it frees is worth: vectors that grow keep as much.)
    pub fn compact(&mut self) {
        let length = self.bytes.len() as u64;
        if self.lease.bytes() / 2 > length {
            self.bytes = Bytes::copy_from_slice(&self.bytes);
            self.lease.shrink_to(length);
        }
    }

    /// As `Bytes` that carry the lease. Costs one small allocation.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// Both, apart.
    pub fn into_parts(self) -> (Bytes, Lease) {
        (self.bytes, self.lease)
    }
}

/// The bytes, and how many they keep alive.
pub(super) fn weigh(bytes: Bytes) -> (Bytes, u64) {
    // Only whoever holds all of a buffer may see how large it is.
    match bytes.try_into_mut() {
        Ok(buffer) => {
            let kept = buffer.capacity() as u64;
            (buffer.freeze(), kept)
        }
        Err(bytes) => {
            let kept = bytes.len() as u64;
            (bytes, kept)
        }
    }
}

impl Deref for LeasedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for LeasedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Buf for LeasedBytes {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    /// Moves on. The lease stays as it is: so does the buffer.
    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// There was no room for these bytes.
#[derive(Debug)]
pub struct Unleased {
    /// They.
    pub bytes: Bytes,
    /// Why.
    pub full: Full,
}

impl fmt::Display for Unleased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.full.fmt(f)
    }
}

impl std::error::Error for Unleased {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.full)
    }
}
