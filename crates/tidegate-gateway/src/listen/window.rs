//! [`Window`]: how much an HTTP/2 client may send ahead of who reads. States and numbers only; [`Credit`](super::credit)
//! does what it says.
//!
//! ```text
//! FLOOR --- used up quickly, memory granted ---> GROWN (twice as much each time)
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

use crate::memory::{LEAST_WINDOW, window_cost};

/// The least window of a stream: a frame of the usual size.
pub(super) const LEAST_STREAM: u32 = 16 * 1024;
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
    largest: u32,
    /// What h2 gives back up to.
    target: u32,
    /// The most that the client has sent and nobody has consumed, and may still send, together.
    exposed: u64,
    /// A stream's window as it was said last, and as it should be.
    stream: u32,
    wanted: u32,
    /// Since when settings wait to be acknowledged.
    said: Option<Instant>,
    consumed: u64,
    since: Instant,
}

impl Window {
    /// A connection whose first settings were just said.
    pub(super) fn new(now: Instant, largest: u32) -> Self {
        Self {
            state: State::Floor,
            largest: largest.max(LEAST_WINDOW),
            target: LEAST_WINDOW,
            exposed: u64::from(LEAST_WINDOW),
            stream: LEAST_STREAM,
            wanted: LEAST_STREAM,
            said: Some(now),
            consumed: 0,
            since: now,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// What h2 should give back up to.
    pub(super) fn target(&self) -> u32 {
        self.target
    }

    /// What must be charged for it.
    pub(super) fn cost(&self) -> u64 {
        if self.state == State::Quenched { 0 } else { window_cost(self.exposed) }
    }

    /// What must be charged once an upload may go on.
    pub(super) fn cost_awake(&self) -> u64 {
        window_cost(self.exposed)
    }

    /// What must be charged for a window of `target`.
    pub(super) fn cost_of(&self, target: u32) -> u64 {
        window_cost(self.exposed.max(u64::from(target)))
    }

    /// Bytes after which it is worth looking again: what so many bodies that are read can be sent in one round trip. One of
    /// them alone is held up by its stream's window, long before the connection's.
    pub(super) fn look_after(&self, readers: usize) -> u64 {
        let streams = u64::from(self.stream.max(1)).saturating_mul(readers.max(1) as u64);
        streams.min(u64::from(self.target))
    }

    /// Bytes were consumed by so many bodies. A larger target, if they deserve one. It is twice as much, so that what is
    /// held for somebody who stops reading is hardly more than what was read.
    pub(super) fn consumed(&mut self, bytes: u64, readers: usize, now: Instant) -> Option<u32> {
        self.exposed = self.exposed.saturating_sub(bytes).max(u64::from(self.target));
        if self.state == State::Shrinking && self.exposed == u64::from(self.target) {
            self.state = State::Floor;
        }
        self.consumed += bytes;
        if self.consumed < self.look_after(readers) {
            return None;
        }
        let quick = now.saturating_duration_since(self.since) <= QUICK;
        (self.consumed, self.since) = (0, now);
        let may = matches!(self.state, State::Floor | State::Grown) && self.target < self.largest;
        (quick && may).then(|| self.target.saturating_mul(2).min(self.largest))
    }

    /// It is charged: a larger window. A stream has a quarter of it, so that one which is not read leaves the others
    /// enough.
    pub(super) fn grow(&mut self, target: u32) {
        self.state = State::Grown;
        self.target = target;
        self.exposed = self.exposed.max(u64::from(target));
        self.wanted = LEAST_STREAM.max(target / 4);
    }

    /// So many streams hold what nobody reads, `held` bytes by now, and others want more: a larger target, if that or the
    /// streams' windows could have used all of this one up.
    pub(super) fn starved(&self, unread: usize, held: u64) -> Option<u32> {
        let needed = self.needed(unread, held).min(self.largest);
        let may = !matches!(self.state, State::Quenching | State::Quenched);
        (may && needed > self.target).then_some(needed)
    }

    /// What leaves others a window although so many streams hold what nobody reads. They may hold more than a stream's window
    /// of now: what came before that was lowered, or before the client saw the first settings.
    fn needed(&self, unread: usize, held: u64) -> u32 {
        let unread = u32::try_from(unread).unwrap_or(u32::MAX);
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        self.stream.max(self.wanted).saturating_mul(unread).max(held).saturating_add(LEAST_WINDOW)
    }

    /// It is charged: a larger window for the connection, and none for the streams.
    pub(super) fn widen(&mut self, target: u32) {
        self.state = State::Grown;
        self.target = target;
        self.exposed = self.exposed.max(u64::from(target));
    }

    /// Memory is short, and somebody uploads: nothing is given anew above the floor, and what `unread` streams use up, of which
    /// they hold so many bytes.
    pub(super) fn shrink(&mut self, unread: usize, held: u64) {
        if self.state == State::Grown {
            self.wanted = LEAST_STREAM;
            self.target = self.needed(unread, held).min(self.target);
            if self.target == LEAST_WINDOW {
                self.lower();
            }
        }
    }

    /// Memory is short, and nobody uploads: nothing may be sent any more.
    pub(super) fn quench(&mut self) {
        if !matches!(self.state, State::Quenching | State::Quenched) {
            self.lower();
            self.state = State::Quenching;
            self.wanted = 0;
        }
    }

    /// Somebody uploads; [`cost_awake`](Self::cost_awake) is charged.
    pub(super) fn wake(&mut self) {
        if matches!(self.state, State::Quenching | State::Quenched) {
            self.lower();
            self.wanted = LEAST_STREAM;
        }
    }

    fn lower(&mut self) {
        self.target = LEAST_WINDOW;
        self.state = if self.exposed > u64::from(self.target) { State::Shrinking } else { State::Floor };
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
        if self.said.is_some() || self.wanted == self.stream {
            return None;
        }
        (self.stream, self.said) = (self.wanted, Some(now));
        Some(self.stream)
    }

    /// When the client must have acknowledged what was said.
    pub(super) fn due(&self) -> Option<Instant> {
        self.said.map(|said| said + ACK_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: u32 = 8 << 20;

    fn window() -> (Window, Instant) {
        let now = Instant::now();
        let mut window = Window::new(now, LARGEST);
        window.acknowledged(false);
        (window, now)
    }

    fn grown(to: u32) -> (Window, Instant) {
        let (mut window, now) = window();
        while window.target() < to {
            let next = window.consumed(window.look_after(1), 1, now).unwrap();
            window.grow(next);
            window.say(now);
            window.acknowledged(true);
        }
        (window, now)
    }

    #[test]
    fn a_window_grows_while_it_is_used_up_quickly() {
        let (mut window, now) = window();
        assert_eq!((window.cost(), window.look_after(1)), (98_303, 16 * 1024));
        assert_eq!(window.consumed(16_383, 1, now), None);
        assert_eq!(window.consumed(1, 1, now), Some(131_070));
        assert_eq!(window.cost_of(131_070), 196_605);
        window.grow(131_070);
        assert_eq!((window.state(), window.cost(), window.say(now)), (State::Grown, 196_605, Some(32_767)));
        // Slowly used up, it stays.
        assert_eq!(window.consumed(32_767, 1, now + QUICK + QUICK), None);
        assert_eq!(window.consumed(32_767, 1, now + QUICK * 3), Some(262_140));
        let (mut window, now) = grown(LARGEST);
        assert_eq!(window.consumed(u64::from(LARGEST), 1, now), None, "there is an end");
    }

    #[test]
    fn one_body_on_a_long_line_comes_to_the_largest_window() {
        let (mut window, mut now) = window();
        let (round_trip, mut turns) = (Duration::from_millis(400), 0);
        while window.target() < LARGEST {
            now += round_trip;
            // All that its stream may be sent, which is far less than the connection may.
            let next = window.consumed(u64::from(window.stream), 1, now).unwrap();
            window.grow(next);
            window.say(now);
            window.acknowledged(true);
            turns += 1;
        }
        assert_eq!((turns, window.stream), (8, LARGEST / 4));
    }

    #[test]
    fn several_bodies_share_the_connections_window() {
        let (mut window, now) = window();
        assert_eq!(window.consumed(32 * 1024, 3, now), None, "three can be sent half as much again");
        assert_eq!(window.consumed(16 * 1024, 3, now), Some(131_070));
        assert_eq!(window.look_after(100), u64::from(LEAST_WINDOW));
    }

    #[test]
    fn a_shrinking_window_is_charged_until_it_is_used_up() {
        let (mut window, now) = grown(1 << 20);
        let before = window.cost();
        window.shrink(0, 0);
        assert_eq!(
            (window.state(), window.target(), window.cost()),
            (State::Shrinking, LEAST_WINDOW, before)
        );
        assert_eq!(window.say(now), Some(LEAST_STREAM));
        assert_eq!(window.consumed(500_000, 1, now), None, "it does not grow meanwhile");
        assert!(window.cost() < before && window.cost() > 98_303);
        window.consumed(2 << 20, 1, now);
        assert_eq!((window.state(), window.cost()), (State::Floor, 98_303));
    }

    #[test]
    fn a_quench_holds_when_it_is_acknowledged() {
        let (mut window, now) = grown(LARGEST);
        let before = window.cost();
        window.quench();
        assert_eq!((window.say(now), window.say(now)), (Some(0), None));
        assert_eq!(window.cost(), before);
        window.acknowledged(false);
        assert_eq!((window.state(), window.cost(), window.cost_awake()), (State::Quenched, 0, before));
        // Awake, what was once given could be used again.
        window.wake();
        assert_eq!((window.state(), window.cost()), (State::Shrinking, before));
        assert_eq!(window.say(now), Some(LEAST_STREAM));
    }

    #[test]
    fn a_quench_that_an_upload_overtakes_is_none() {
        let (mut window, now) = window();
        window.quench();
        assert_eq!(window.say(now), Some(0));
        window.wake();
        // Only one setting may be on its way.
        assert_eq!(window.say(now), None);
        window.acknowledged(true);
        assert_eq!((window.state(), window.cost()), (State::Floor, 98_303));
        assert_eq!(window.say(now), Some(LEAST_STREAM));
        // Nor is one for whom somebody still holds bytes.
        let (mut window, now) = grown(1 << 20);
        window.quench();
        window.say(now);
        window.acknowledged(true);
        assert_eq!(window.state(), State::Quenching);
        assert!(window.cost() > 0);
    }

    #[test]
    fn streams_that_nobody_reads_leave_the_others_a_window() {
        let (mut window, _) = window();
        assert_eq!(window.starved(0, 0), None);
        let wider = LEAST_WINDOW + 9 * LEAST_STREAM;
        assert_eq!(window.starved(9, 0), Some(wider));
        window.widen(wider);
        assert_eq!((window.starved(9, 0), window.cost()), (None, window_cost(u64::from(wider))));
        assert_eq!(window.say(Instant::now()), None, "the streams' own stay");
        window.shrink(9, 0);
        assert_eq!((window.state(), window.target()), (State::Grown, wider));
        window.shrink(0, 0);
        assert_eq!((window.state(), window.target()), (State::Shrinking, LEAST_WINDOW));
    }

    #[test]
    fn what_streams_held_before_their_windows_were_lowered_counts() {
        // Before it saw any settings, one stream took all there was.
        let (window, _) = window();
        assert_eq!(window.starved(1, u64::from(LEAST_WINDOW)), Some(2 * LEAST_WINDOW));
        // One took all of its large window, and memory is short more than once.
        let (mut window, now) = grown(1 << 20);
        let held = 1 << 18;
        window.shrink(1, held);
        window.say(now);
        window.acknowledged(true);
        window.shrink(1, held);
        assert_eq!((window.stream, window.target()), (LEAST_STREAM, (1 << 18) + LEAST_WINDOW));
        // What it was lowered to before is made good.
        window.shrink(1, 0);
        assert_eq!(window.starved(1, held), Some((1 << 18) + LEAST_WINDOW));
        assert_eq!(window.starved(1, u64::MAX), Some(LARGEST), "there is an end");
    }

    #[test]
    fn what_is_never_acknowledged_is_due() {
        let now = Instant::now();
        let mut window = Window::new(now, LARGEST);
        assert_eq!(window.due(), Some(now + ACK_WITHIN));
        window.quench();
        assert_eq!(window.say(now), None, "the first settings are still on their way");
        window.acknowledged(false);
        assert_ne!(window.state(), State::Quenched, "that was not acknowledged");
        assert_eq!((window.due(), window.say(now), window.due()), (None, Some(0), Some(now + ACK_WITHIN)));
    }
}
