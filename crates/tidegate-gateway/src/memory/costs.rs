//! What each thing takes at most, in bytes, with the kernel's share.
//!
//! The figures are bounds that code keeps (windows, buffers) or were measured (tasks, tables) and rounded up. The proof
//! that `tidegate check` prints is their sum; the tests under attack compare it with the size of the process.

use http::HeaderMap;

const KIB: u64 = 1024;

/// The program at rest: code, runtime, allocator, its admin pages; and what a few connections may unpack at the same
/// moment before it can be charged (a round of header blocks for each of the runtime's threads).
pub(super) const BASE: u64 = 16 * 1024 * KIB;

/// An HTTP/1 connection between two requests: its task, hyper's state and smallest buffers, the kernel's socket.
pub(super) const IDLE: u64 = 16 * KIB;

/// A connection that is accepted and waits, unread: its small task, its place in the line (1.3 KiB measured together), and the
/// kernel's socket (3.9 KiB). What its client sends meanwhile stays in the kernel, as with those in the backlog: a head
/// mostly, [`RECEIVED`] at worst.
pub(super) const PARKED: u64 = 6 * KIB;

/// The buffers of TLS, of one connection.
pub(super) const TLS: u64 = 40 * KIB;

/// An HTTP/2 connection without windows and streams: the buffers of its codec (16 + 8 KiB), two HPACK tables, its task,
/// and the kernel's socket.
pub(super) const FIXED2: u64 = 48 * KIB;

/// Answer bytes that one HTTP/2 connection may hold unsent, and the kernel beside it, from the begin: a frame's worth
/// that is being written and one that is next. What the kernel holds beyond that, [`REQUEST`] has.
pub(crate) const ROOM: u64 = 32 * KIB;

/// Heads of streams that wait for their turn on one HTTP/2 connection; beyond it they are charged one by one.
pub(crate) const HEADS: u64 = 16 * KIB;

/// One request and its answer, as long as neither has many bytes: its task, its head up to [`HEAD`], the exchange with
/// the origin with hyper's smallest buffers, two small reads of a body on their way (24 KiB measured); and what the kernel
/// holds unsent for the client, or of an upload for the origin (28 KiB, which [`Unsent`](crate::unsent::Unsent) bounds). What
/// it holds of the origin's answer comes on top, as the plan has it.
pub(super) const REQUEST: u64 = 52 * KIB;

/// Kernel buffers of a connection to an HTTP/1 origin hold this much of an answer that nobody reads (`SO_RCVBUF`), which
/// takes twice as much: the least that keeps a near origin busy, and the system's own beginning.
pub(super) const RECEIVE: (u64, u64) = (16 * KIB, 64 * KIB);

/// What the kernel may receive of an HTTP/1 connection ahead of who reads, as it counts: half of it is the window. That is
/// twice what senders begin with (ten segments, RFC 6928), and enough for the kernel to acknowledge each of those at once;
/// with half of it an upload of 40 KB over 100 ms took 435 ms, with this and with the system's own 358.
pub(crate) const RECEIVED: u64 = 64 * KIB;

/// What it takes beyond that: a last segment, and what it keeps at hand (4 KiB measured, 12 with pieces of a byte on a busy
/// machine).
pub(super) const RECEIVED_OVER: u64 = 16 * KIB;

/// The most that it may receive ahead of who reads quickly, if there is memory: half of it is a window, as large as HTTP/2's
/// largest.
pub(super) const LARGEST_RECEIVED: (u64, u64) = (1024 * KIB, 16 * 1024 * KIB);

/// What of a head a request's own charge covers.
pub(crate) const HEAD: u64 = 4 * KIB;

/// A body that may flow freely: hyper's read buffer and a frame of its size on the other side, at most 64 KiB each.
pub(super) const FREE: u64 = 128 * KIB;

/// The same in pieces of a frame's size: hyper's buffer and one on its way, beside what a request has anyway.
pub(super) const FREE_SMALL: u64 = 32 * KIB;

/// What may wait unwritten of an upload that flows freely: few system calls write what hyper's own limit of 400 KiB would
/// let wait. Half as much is the mark of what the kernel may hold unsent, so that it is asked seldom and the origin finds
/// something to read whenever it looks.
pub(super) const UNWRITTEN: (u64, u64) = (64 * KIB, 256 * KIB);

/// A tunnel: 16 KiB each way, its task, and what the kernel holds unsent both ways (28 KiB each). What it has received on
/// either side comes on top, as the plan has it.
pub(super) const TUNNEL: u64 = 92 * KIB;

/// An unused connection to the origin: hyper's smallest buffers, a task, the kernel's socket.
pub(super) const KEPT: u64 = 24 * KIB;

/// The least window of an HTTP/2 connection: RFC 9113 §6.9.2 gives it to every peer, and nothing takes it back.
pub(crate) const LEAST_WINDOW: u32 = 65_535;

/// What a window of `bytes` can make us hold: the bytes, and half as much again for frames so small that their
/// bookkeeping outweighs them (h2's own bound, `data_frame_budget`, is half of the window).
pub(crate) const fn window_cost(bytes: u64) -> u64 {
    bytes.saturating_add(bytes.div_ceil(2))
}

/// What an HTTP/2 connection takes from its begin to its end, beside one request: it can always receive, and answer.
pub(super) const FLOOR2: u64 = FIXED2 + window_cost(LEAST_WINDOW as u64) + ROOM + HEADS;

/// What a head takes: its bytes, and for each field its place in the map.
pub(crate) fn head_cost(target: usize, headers: &HeaderMap) -> u64 {
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
    (target + fields) as u64
}

/// What the h2 crate may hold of a header block of which `bytes` have come and more is to come, where a head has
/// `head_bytes` at most. A byte may become a field; RFC 9113 §6.5.2 counts 32 for each beside a name of one, and what is
/// beyond the most is not kept. Their text is in the frames, or is unpacked into at most twice as much, and keeps a buffer
/// alive that had begun before.
pub(crate) fn unfinished_cost(bytes: usize, head_bytes: usize) -> u64 {
    let bytes = bytes.next_multiple_of(64);
    let fields = bytes.min(head_bytes / 33 + 1);
    (fields * FIELD + 2 * bytes) as u64 + 16 * KIB
}

/// The map's entry (104 bytes), its index, and the room that maps keep free.
const FIELD: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_costs_half_as_much_again() {
        assert_eq!(window_cost(u64::from(LEAST_WINDOW)), 98_303);
        assert_eq!(window_cost(0), 0);
        assert_eq!(window_cost(u64::MAX), u64::MAX);
    }

    #[test]
    fn an_unfinished_block_costs_its_fields_or_its_bytes() {
        assert_eq!(unfinished_cost(1, 32 * 1024), 64 * 160 + 2 * 64 + 16 * KIB);
        assert_eq!(unfinished_cost(96 * 1024, 32 * 1024), 993 * 160 + 192 * KIB + 16 * KIB);
        assert_eq!(unfinished_cost(1, 330), 10 * 160 + 160 + 2 * 64 + 16 * KIB);
    }

    #[test]
    fn a_head_of_many_small_fields_costs_more_than_its_bytes() {
        let mut headers = HeaderMap::new();
        (0..100).for_each(|_| {
            headers.append("a", "b".parse().unwrap());
        });
        assert_eq!(head_cost(10, &headers), 10 + 100 * 162);
    }
}
