//! How many bytes an item keeps alive.

/// The bytes that an item keeps alive beside itself: by capacity, not by length.
///
/// A `Vec` of ten bytes with room for a million holds a million; whoever weighs its length bounds nothing. The item's own
/// size is not part of it: the channel adds that, and the queue's own cost, to each
/// ([`Config::per_item`](super::Config::per_item)).
///
/// ```
/// use tidegate::channel::Weigh;
///
/// struct Order { text: String, tags: Vec<String> }
///
/// impl Weigh for Order {
///     fn weight(&self) -> u64 {
///         self.text.weight() + self.tags.weight()
///     }
/// }
/// assert_eq!(Vec::<u8>::with_capacity(100).weight(), 100);
/// ```
pub trait Weigh {
    /// Bytes kept alive beside the item itself.
    fn weight(&self) -> u64;
}

/// A length in bytes. A `usize` has at most 64 bits wherever Rust runs.
fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

macro_rules! weighs {
    ($($type:ty: |$it:pat_param| $weight:expr;)*) => { $(
        impl Weigh for $type {
            fn weight(&self) -> u64 {
                let $it = self;
                $weight
            }
        }
    )* };
}

weighs! {
    Vec<u8>: |it| bytes(it.capacity());
    String: |it| bytes(it.capacity());
    Box<[u8]>: |it| bytes(it.len());
    Box<str>: |it| bytes(it.len());
    bytes::BytesMut: |it| bytes(it.capacity());
    (): |_| 0; bool: |_| 0; char: |_| 0;
    u8: |_| 0; u16: |_| 0; u32: |_| 0; u64: |_| 0; u128: |_| 0; usize: |_| 0;
    i8: |_| 0; i16: |_| 0; i32: |_| 0; i64: |_| 0; i128: |_| 0; isize: |_| 0;
    f32: |_| 0; f64: |_| 0;
    &'static str: |_| 0;
    &'static [u8]: |_| 0;
}

/// Its length. A slice of a larger buffer keeps all of that alive, which cannot be seen from it: where small slices are
/// cut from large buffers, copy them, or give the weight when reserving.
impl Weigh for bytes::Bytes {
    fn weight(&self) -> u64 {
        bytes(self.len())
    }
}

impl<const N: usize> Weigh for [u8; N] {
    fn weight(&self) -> u64 {
        0
    }
}

impl Weigh for Vec<String> {
    fn weight(&self) -> u64 {
        many(self, self.capacity())
    }
}

impl Weigh for Vec<Vec<u8>> {
    fn weight(&self) -> u64 {
        many(self, self.capacity())
    }
}

impl Weigh for Vec<bytes::Bytes> {
    fn weight(&self) -> u64 {
        many(self, self.capacity())
    }
}

/// The places of a vector and what its items hold beside them.
fn many<T: Weigh>(items: &[T], capacity: usize) -> u64 {
    let places = bytes(capacity.saturating_mul(size_of::<T>()));
    items.iter().fold(places, |sum, item| sum.saturating_add(item.weight()))
}

impl<T: Weigh> Weigh for Option<T> {
    fn weight(&self) -> u64 {
        self.as_ref().map_or(0, Weigh::weight)
    }
}

impl<T: Weigh> Weigh for Box<T> {
    fn weight(&self) -> u64 {
        bytes(size_of::<T>()).saturating_add((**self).weight())
    }
}

impl<A: Weigh, B: Weigh> Weigh for (A, B) {
    fn weight(&self) -> u64 {
        self.0.weight().saturating_add(self.1.weight())
    }
}

impl<T: Weigh, E: Weigh> Weigh for Result<T, E> {
    fn weight(&self) -> u64 {
        match self {
            Ok(value) => value.weight(),
            Err(error) => error.weight(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_counts_and_not_length() {
        let mut text = String::with_capacity(1000);
        text.push('x');
        assert_eq!(text.weight(), 1000);
        assert_eq!(Some(text).weight(), 1000);
        assert_eq!(Box::new([0u8; 64]).weight(), 64);
        assert_eq!(bytes::Bytes::from_static(b"abc").weight(), 3);
        let rows = vec![Vec::<u8>::with_capacity(10), Vec::with_capacity(20)];
        assert_eq!(rows.weight(), 30 + 2 * size_of::<Vec<u8>>() as u64);
        assert_eq!((7u64, vec![0u8; 5]).weight(), 5);
        assert_eq!(Ok::<_, ()>(vec![0u8; 5]).weight(), 5);
    }
}
