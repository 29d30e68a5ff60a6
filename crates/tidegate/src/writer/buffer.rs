//! Bytes that a writer accepted and the kernel has not taken yet.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Shorter pieces that would have to wait are copied together: each would cost about as much again for its place, and may
/// keep a far larger buffer alive.
const SHORT: usize = 1024;

/// As many pieces as go out with one call; the kernel takes up to 1024 (`UIO_MAXIOV`), but few are ever there.
const AT_ONCE: usize = 16;

/// Places for pieces that an empty buffer keeps: what the standard library begins with.
const FEW: usize = 4;

/// Pieces in their order, and behind them the short ones that were copied. It holds at most two pieces for each [`SHORT`]
/// bytes, and two more: who bounds its bytes bounds its pieces.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pieces: VecDeque<Bytes>,
    short: BytesMut,
    bytes: u64,
}

impl Buffer {
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(super) fn put(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len() as u64;
        // The first does not wait behind anything: it goes out as it is.
        if piece.len() < SHORT && self.bytes > piece.len() as u64 {
            self.short.put_slice(&piece);
            return;
        }
        self.close_short();
        self.pieces.push_back(piece);
    }

    /// Takes over all of `other`, behind its own.
    pub(super) fn append(&mut self, other: &mut Self) {
        other.close_short();
        while let Some(piece) = other.pieces.pop_front() {
            self.put(piece);
        }
        other.bytes = 0;
    }

    /// What goes out next. Calls `write` with it; `vectored` says whether that takes more than one piece.
    pub(super) fn front<R>(&mut self, vectored: bool, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        if self.pieces.is_empty() {
            self.close_short();
        }
        let most = if vectored { AT_ONCE } else { 1 };
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        let mut count = 0;
        let pieces = self.pieces.iter().map(Bytes::as_ref).chain([self.short.as_ref()]);
        for (slice, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty()).take(most)) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        write(slices.get(..count).unwrap_or_default())
    }

    /// The first `bytes` went out.
    pub(super) fn advance(&mut self, bytes: u64) {
        let mut left = usize::try_from(bytes.min(self.bytes)).unwrap_or(usize::MAX);
        self.bytes -= left as u64;
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > left {
                piece.advance(left);
                return;
            }
            left -= piece.len();
            self.pieces.pop_front();
        }
        self.short.advance(left);
        if self.bytes == 0 {
            // A writer with nothing to write holds next to no memory; and one that writes a piece at a time does not allocate
            // for each.
            self.short = BytesMut::new();
            if self.pieces.capacity() > FEW {
                self.pieces = VecDeque::new();
            }
        }
    }

    /// Forgets everything; how many bytes that were.
    pub(super) fn clear(&mut self) -> u64 {
        std::mem::take(self).bytes
    }

    fn close_short(&mut self) {
        if !self.short.is_empty() {
            self.pieces.push_back(self.short.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn out(buffer: &mut Buffer, vectored: bool, most: usize) -> Vec<u8> {
        let out = buffer.front(vectored, |slices| {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            all[..all.len().min(most)].to_vec()
        });
        buffer.advance(out.len() as u64);
        out
    }

    #[test]
    fn a_large_piece_is_not_copied() {
        let piece = Bytes::from(vec![7; 4096]);
        let mut buffer = Buffer::default();
        buffer.put(piece.clone());
        assert_eq!(buffer.front(true, |slices| slices[0].as_ptr()), piece.as_ptr());
    }

    #[test]
    fn many_short_pieces_keep_none_of_their_buffers() {
        let mut buffer = Buffer::default();
        let large = Bytes::from(vec![1; 1 << 20]);
        for _ in 0..1000 {
            buffer.put(large.slice(..10));
        }
        assert_eq!((buffer.bytes(), buffer.pieces.len()), (10_000, 1));
    }

    #[test]
    fn empty_it_holds_next_to_no_memory() {
        let mut buffer = Buffer::default();
        for _ in 0..20 {
            buffer.put(Bytes::from_static(&[0; SHORT]));
            buffer.put(Bytes::from_static(b"short"));
        }
        while !buffer.is_empty() {
            out(&mut buffer, true, usize::MAX);
        }
        assert!(buffer.pieces.capacity() <= FEW && buffer.short.capacity() == 0);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_its_order(
            pieces in proptest::collection::vec((0_usize..3000, 0_usize..5000), 0..40), vectored: bool, join: bool,
        ) {
            let (mut buffer, mut other) = (Buffer::default(), Buffer::default());
            let (mut given, mut taken, mut next) = (Vec::<u8>::new(), Vec::<u8>::new(), 0_u8);
            for (length, most) in pieces {
                let piece: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(1); next }).collect();
                given.extend(&piece);
                if join {
                    other.put(piece.into());
                    buffer.append(&mut other);
                    prop_assert!(other.is_empty());
                } else {
                    buffer.put(piece.into());
                }
                taken.extend(out(&mut buffer, vectored, most));
                prop_assert_eq!(buffer.bytes(), (given.len() - taken.len()) as u64);
                prop_assert!(buffer.pieces.len() as u64 <= 2 * (buffer.bytes() / SHORT as u64) + 2);
            }
            while !buffer.is_empty() {
                let more = out(&mut buffer, vectored, usize::MAX);
                prop_assert!(!more.is_empty());
                taken.extend(more);
            }
            prop_assert_eq!(taken, given);
        }
    }
}
