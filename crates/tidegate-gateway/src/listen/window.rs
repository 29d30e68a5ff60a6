//! [`Window`]: how much an HTTP/2 client may send ahead of who reads. States and numbers only; [`Credit`](super::credit)
//! does what it says.
//!
//! ```text
//! FLOOR --- used up quickly, memory granted ---> GROWN (twice as much each time, and what nobody reads)
//! GROWN --- memory is short ---> SHRINKING --- what was given is used up ---> FLOOR
//! any   --- memory is short, and nobody uploads ---> QUENCHING --- acknowledged ---> QUENCHED
//! QUENCHED --- an upload comes, memory granted ---> FLOOR (or SHRINKING)
//! ```
//!
//! The window of a connection can be given and not taken back (RFC 9113 §6.9): what was given is charged until it is used
//! up. The window of every stream can be taken back by one setting, and a window of 0 for each lets none of
//! the connection's be used: that is the quench. It holds once the client has acknowledged it.

use std::time::Duration;

use tokio::time::Instant;

use crate::body::{Taken, Unread};
use crate::memory::{LEAST_WINDOW, largest_with_unread, window_cost};

use super::sizes::{LEAST_STREAM, Sizes};

/// What clients may send ahead, used up within this, asks for more: so it is with round trips of up to half a second, and
/// not with uploads slower than 32 KiB/s, which need none.
const QUICK: Duration = Duration::from_millis(500);
/// Settings must be acknowledged within this.
const ACK_WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Floor,
    Grown,
    Shrinking,
    Quenching,
    Quenched,
}

#[derive(Debug)]
pub(super) struct Window {
    state: State,
    /// The most that bodies have together that are read.
    largest: u32,
    /// As they should be. What h2 gives back up to is the connection's.
    sizes: Sizes,
    /// The most that the client has sent and nobody has consumed, and may still send, together.
    exposed: u64,
    /// A stream's window as it was said last, since when that waits to be acknowledged, and as it was until then.
    stream: u32,
    said: Option<Instant>,
    before: u32,
    /// What was read, and by how many bodies, since it was looked at last.
    read: u64,
    readers: usize,
    since: Instant,
}

impl Window {
    /// A connection whose first settings were just said.
    pub(super) fn new(now: Instant, largest: u32) -> Self {
        Self {
            state: State::Floor,
            largest: largest.max(LEAST_WINDOW),
            sizes: Sizes::LEAST,
            exposed: u64::from(LEAST_WINDOW),
            stream: LEAST_STREAM,
            said: Some(now),
            // RFC 9113 §6.9.2.
            before: LEAST_WINDOW,
            read: 0,
            readers: 0,
            since: now,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// What h2 should give back up to.
    pub(super) fn target(&self) -> u32 {
        self.sizes.all
    }

    /// What must be charged for it.
    pub(super) fn cost(&self) -> u64 {
        if self.state == State::Quenched { 0 } else { window_cost(self.exposed) }
    }

    /// What must be charged once an upload may go on.
    pub(super) fn cost_awake(&self) -> u64 {
        window_cost(self.exposed)
    }

    /// What must be charged for windows of these sizes.
    pub(super) fn cost_of(&self, sizes: Sizes) -> u64 {
        window_cost(self.exposed.max(u64::from(sizes.all)))
    }

    /// Bytes after which it is worth looking again: what so many bodies that are read can be sent in one round trip. One of
    /// them alone is held up by its stream's window, long before the connection's.
    pub(super) fn look_after(&self, readers: usize) -> u64 {
        let streams = u64::from(self.stream.max(1)).saturating_mul(readers.max(1) as u64);
        streams.min(u64::from(self.sizes.read))
    }

    /// The same from now on, if so many are read: without what was read since it was looked at last.
    pub(super) fn mark(&self, readers: usize) -> u64 {
        self.look_after(readers.max(self.readers)).saturating_sub(self.read)
    }

    /// What a stream may be sent, as its client might still believe.
    fn believed(&self) -> u32 {
        if self.said.is_some() { self.stream.max(self.before) } else { self.stream }
    }

    /// Bytes have gone. They count before anything is said that was not when they went.
    pub(super) fn burn(&mut self, taken: Taken) {
        let gone = taken.read.saturating_add(taken.dropped);
        self.exposed = self.exposed.saturating_sub(gone).max(u64::from(self.sizes.all));
        if self.state == State::Shrinking && self.exposed == u64::from(self.sizes.all) {
            self.state = State::Floor;
        }
        self.read = self.read.saturating_add(taken.read);
        self.readers = self.readers.max(taken.readers);
    }

    /// Bytes have gone, and `unread` says what others hold. Other sizes, if they should be. Those that are read have twice
    /// as much if they deserve it, so that what is held for somebody who stops reading is hardly more than what was read.
    pub(super) fn consumed(
        &mut self,
        taken: Taken,
        now: Instant,
        unread: impl FnOnce() -> Unread,
    ) -> Option<Sizes> {
        self.burn(taken);
        let mut read = self.sizes.read;
        if self.read > 0 && self.read >= self.look_after(self.readers) {
            if now.saturating_duration_since(self.since) <= QUICK {
                read = read.saturating_mul(2).min(self.largest);
            }
            (self.read, self.readers, self.since) = (0, 0, now);
        } else if taken.left == 0 {
            return None;
        }
        self.others(read, unread())
    }

    /// Somebody wants more, and bodies hold so much that nobody reads: other sizes, if these have less left than a stream
    /// may be sent.
    pub(super) fn tight(&self, unread: Unread) -> Option<Sizes> {
        let mut sizes = if self.is_tight(&unread) { self.others(self.sizes.read, unread) } else { None }?;
        // It is no time to take anything away.
        sizes.all = sizes.all.max(self.sizes.all);
        Some(sizes)
    }

    fn is_tight(&self, unread: &Unread) -> bool {
        self.left(unread) < u64::from(self.sizes.stream.max(self.stream))
    }

    /// What these leave of the connection's window.
    fn left(&self, unread: &Unread) -> u64 {
        u64::from(self.sizes.all).saturating_sub(unread.held())
    }

    fn others(&self, read: u32, unread: Unread) -> Option<Sizes> {
        if !matches!(self.state, State::Floor | State::Grown) {
            return None;
        }
        let (streams, held) = (unread.0.len(), unread.held());
        let mut sizes = self.bounded(self.beside(read, unread, self.most()), streams);
        if sizes.stream < self.believed() {
            // What is set aside for others is not for them before they have heard that they may have no more of it.
            let now = u64::from(sizes.read).saturating_add(held);
            sizes.all = sizes.all.min(u32::try_from(now).unwrap_or(u32::MAX));
        }
        (sizes != self.sizes).then_some(sizes)
    }

    /// The sizes beside what these hold, of `most` in all.
    fn beside(&self, read: u32, mut unread: Unread, most: u32) -> Sizes {
        // Who holds as much as was given first takes all that it is given. Who does not while there is enough wants no more.
        let much = if self.is_tight(&unread) { 0 } else { u64::from(LEAST_STREAM) };
        unread.0.sort_unstable_by(|one, other| other.cmp(one));
        let (takers, rest) = unread.0.split_at(unread.0.partition_point(|held| *held >= much));
        Sizes::new(read, takers, rest.iter().sum(), most)
    }

    /// Somebody wants more, and less than a frame is left: the least that leaves others a window.
    pub(super) fn starved(&self, unread: &Unread) -> Option<Sizes> {
        let may = !matches!(self.state, State::Quenching | State::Quenched);
        if !may || self.left(unread) >= u64::from(LEAST_STREAM) {
            return None;
        }
        let sizes = self.bounded(Sizes::least(&unread.0), unread.0.len());
        (sizes.all > self.sizes.all).then_some(sizes)
    }

    /// The most of all together, but for the least.
    fn most(&self) -> u32 {
        largest_with_unread(self.largest)
    }

    /// Streams may be sent more until their client has heard that they may not, and what they hold then comes on top of the
    /// most: a stream's least for each.
    fn bounded(&self, mut sizes: Sizes, streams: usize) -> Sizes {
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        let end =
            self.most().saturating_add(LEAST_STREAM.saturating_mul(streams)).saturating_add(LEAST_WINDOW);
        sizes.all = sizes.all.min(end).min(self.most().saturating_mul(2));
        sizes
    }

    /// Windows of these sizes: what they cost is charged. Of what was given before, what is more remains until it is used up.
    pub(super) fn resize(&mut self, sizes: Sizes) {
        self.state = State::Grown;
        self.sizes = sizes;
        self.exposed = self.exposed.max(u64::from(sizes.all));
    }

    /// There is no memory for more: streams have what leaves others theirs of what there is, also when it is more again.
    pub(super) fn share(&mut self, unread: Unread) {
        self.sizes.stream = self.beside(self.sizes.read, unread, self.sizes.all).stream;
    }

    /// Memory is short, and somebody uploads: nothing is given anew above the floor, and what others hold that nobody reads.
    pub(super) fn shrink(&mut self, unread: Unread) {
        if self.state == State::Grown {
            let all = self.sizes.all;
            self.sizes = Sizes::least(&unread.0);
            self.sizes.all = self.sizes.all.min(all);
            if self.sizes.all == LEAST_WINDOW {
                self.lower();
            }
        }
    }

    /// Memory is short, and nobody uploads: nothing may be sent any more.
    pub(super) fn quench(&mut self) {
        if !matches!(self.state, State::Quenching | State::Quenched) {
            self.lower();
            self.state = State::Quenching;
            self.sizes.stream = 0;
        }
    }

    /// Somebody uploads; [`cost_awake`](Self::cost_awake) is charged.
    pub(super) fn wake(&mut self) {
        if matches!(self.state, State::Quenching | State::Quenched) {
            self.lower();
        }
    }

    fn lower(&mut self) {
        self.sizes = Sizes::LEAST;
        self.state = if self.exposed > u64::from(LEAST_WINDOW) { State::Shrinking } else { State::Floor };
    }

    /// The client has acknowledged what was said last; `uploads` says whether somebody might hold bytes of it.
    pub(super) fn acknowledged(&mut self, uploads: bool) {
        self.said = None;
        if self.state == State::Quenching && self.stream == 0 && !uploads {
            self.state = State::Quenched;
        }
    }

    /// What must be said now, if something must and may.
    pub(super) fn say(&mut self, now: Instant) -> Option<u32> {
        if self.said.is_some() || self.sizes.stream == self.stream {
            return None;
        }
        (self.before, self.stream, self.said) = (self.stream, self.sizes.stream, Some(now));
        Some(self.stream)
    }

    /// Nothing of the client is read now: what it says is not heard, and that time is not its own.
    pub(super) fn reads_nothing(&mut self, now: Instant) {
        self.said = self.said.map(|_| now);
    }

    /// When the client must have acknowledged what was said.
    pub(super) fn due(&self) -> Option<Instant> {
        self.said.map(|said| said + ACK_WITHIN)
    }
}

#[cfg(test)]
#[path = "window_model.rs"]
mod model;

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
