//! [`Peer`]: how little the kernel holds for a near peer until it has shown that it takes what it is sent.
//!
//! What is sent is held until it is acknowledged, and for a program that reads nothing its kernel may take its time (Linux 40
//! ms, RFC 1122 §4.2.3.2 half a second). What could be on its way meanwhile is bounded by slow start, elsewhere: on one
//! machine the ten segments with which it begins (RFC 6928) have 64 KiB each. So somebody who read nothing made the kernel
//! hold 104 KiB, until everything lay in buffers of his own. Until the window of a near peer ends beyond what such buffers take,
//! it has no more than one and a half of the mark on its way and unsent together. That is no slower: an acknowledgement takes
//! no time there, and there are two steps on the way, which whoever reads acknowledges at once. For far peers slow start does
//! the same, and less would cost them round trips.

use std::io;

use super::sight::Sight;
use super::unsent::Kernel;

/// No window of whoever reads nothing ends beyond it: its buffer has 128 KiB, which hold some beside the bytes (`tcp_rmem`; the
/// farthest of 10,000 ended after 125 KiB). That of whoever reads does when 64 KiB or less were acknowledged.
const REACHES: u64 = 128 * 1024;
/// Microseconds of a round trip that is near. What has to be acknowledged is sent in three or four rounds then, for which slow
/// start needs three: 2 ms more, once in the life of a connection.
const NEAR: u32 = 2_000;
/// What the kernel says where it has measured none.
const UNKNOWN: u32 = u32::MAX;

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Nothing yet, or it is far away.
    Untried,
    /// It is near, and the kernel says that it may be written to when little is unacknowledged.
    Awaited,
    /// The same; the kernel has said so, and its buffer has a fixed size which is large enough.
    Fixed,
    /// It takes what it is sent.
    Tried,
}

/// What is asked of the kernel about a send buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffer {
    /// To call it writable while it holds no more than two thirds of so many bytes, those besides the payload included.
    Of(usize),
    /// Its largest fixed size.
    Largest,
    /// To find the size itself again, from what it is.
    Tuned,
}

impl Peer {
    /// The bytes that may be handed over now to a peer of which no more is known than `sight` says; `None` if it makes no
    /// difference. An error if it must be waited for the kernel's word first.
    pub(crate) fn step(
        &mut self,
        mark: usize,
        sight: Option<&Sight>,
        kernel: &impl Kernel,
    ) -> io::Result<Option<usize>> {
        if *self == Self::Tried {
            return Ok(None);
        }
        let Some(sight) = sight.filter(|sight| sight.reach < REACHES) else {
            self.release(kernel);
            *self = Self::Tried;
            return Ok(None);
        };
        if NEAR < sight.round_trip && sight.round_trip < UNKNOWN {
            // A busy machine may have measured only itself so far.
            self.release(kernel);
            return Ok(None);
        }
        let step = first_step(mark);
        if sight.unacknowledged > step as u64 {
            if *self != Self::Awaited {
                if kernel.send_buffer(Buffer::Of(2 * step)).is_err() {
                    *self = Self::Tried;
                    return Ok(None);
                }
                *self = Self::Awaited;
            }
            kernel.writable()?;
        }
        if *self == Self::Awaited {
            // Else small pieces, of which each takes far more than its bytes, would have to wait as well.
            let _ = kernel.send_buffer(Buffer::Largest);
            *self = Self::Fixed;
        }
        Ok(Some(step))
    }

    /// The kernel finds the size of the buffer itself, as it did before.
    fn release(&mut self, kernel: &impl Kernel) {
        if *self == Self::Awaited {
            let _ = kernel.send_buffer(Buffer::Largest);
        }
        if matches!(self, Self::Awaited | Self::Fixed) {
            // What allowed it to be fixed allows this.
            let _ = kernel.send_buffer(Buffer::Tuned);
            *self = Self::Untried;
        }
    }
}

/// Three quarters of the mark: twice as much is on its way at most, and one piece of it is never more than what follows it, which
/// Linux waits for before it acknowledges at once what somebody reads.
pub(crate) const fn first_step(mark: usize) -> usize {
    let step = mark / 4 * 3;
    // Whoever hands over nothing would take it for an end.
    if step == 0 { 1 } else { step }
}

#[cfg(test)]
#[path = "untried_tests.rs"]
mod tests;
