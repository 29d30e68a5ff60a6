//! A model of an HTTP/2 connection, to try [`Window`] on: its client, what the h2 crate holds and says, and its origin.
//! Everything that one side has said is heard by the other in the next round trip.

use proptest::prelude::*;

use super::super::waiting::LOOK;
use super::*;

#[path = "window_beside.rs"]
mod beside;

const FRAME: i64 = 16 * 1024;

/// One window, as h2 has it: what the peer may send, and what it may be told it may send.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    window: i64,
    available: i64,
    held: i64,
}

impl Flow {
    fn new(window: i64) -> Self {
        Self { window, available: window, held: 0 }
    }

    fn came(&mut self, bytes: i64) {
        (self.window, self.available, self.held) =
            (self.window - bytes, self.available - bytes, self.held + bytes);
    }

    fn went(&mut self, bytes: i64) {
        (self.available, self.held) = (self.available + bytes, self.held - bytes);
    }

    /// Tells the peer, as h2 does: if it is worth it.
    fn say(&mut self) {
        let more = self.available - self.window;
        if more > 0 && more >= self.window / 2 {
            self.window = self.available;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Body {
    flow: Flow,
    is_read: bool,
    look: u64,
}

/// How much memory there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Plenty,
    /// None to grow.
    Short,
}

struct Model {
    window: Window,
    now: Instant,
    looked: Instant,
    looks: u64,
    connection: Flow,
    /// A stream's first window, as both sides have it; and as it was said.
    first: i64,
    said: Option<i64>,
    bodies: Vec<Body>,
    taken: Taken,
    mark: u64,
    total: (u64, u64),
    charged: u64,
    memory: Memory,
}

impl Model {
    fn new(largest: u32) -> Self {
        let now = Instant::now();
        let window = Window::new(now, largest);
        Self {
            charged: window.cost(),
            mark: window.look_after(1),
            window,
            now,
            looked: now,
            looks: 0,
            connection: Flow::new(i64::from(LEAST_WINDOW)),
            first: i64::from(LEAST_WINDOW),
            said: Some(i64::from(LEAST_STREAM)),
            bodies: Vec::new(),
            taken: Taken::default(),
            total: (0, 0),
            memory: Memory::Plenty,
        }
    }

    fn open(&mut self, is_read: bool) {
        self.bodies.push(Body { flow: Flow::new(self.first), is_read, look: self.looks });
    }

    /// What the client has seen of the settings holds from here on.
    fn acknowledge(&mut self) {
        if let Some(said) = self.said.take() {
            for body in &mut self.bodies {
                body.flow.window += said - self.first;
                body.flow.available += said - self.first;
            }
            self.first = said;
            self.bodies.iter_mut().for_each(|body| body.flow.say());
            self.window.acknowledged(!self.bodies.is_empty());
        }
        self.settle();
    }

    /// The client sends what it may of this body, a frame at most.
    fn send(&mut self, index: usize, most: i64) -> i64 {
        let Some(body) = self.bodies.get_mut(index) else { return 0 };
        let some = body.flow.window.min(self.connection.window).min(FRAME).min(most).max(0);
        body.flow.came(some);
        self.connection.came(some);
        some
    }

    /// The origin reads a frame of it.
    fn read(&mut self, index: usize) -> bool {
        let Some(body) = self.bodies.get_mut(index).filter(|body| body.flow.held > 0) else { return false };
        let some = body.flow.held.min(FRAME);
        body.look = self.looks;
        body.flow.went(some);
        body.flow.say();
        self.connection.went(some);
        self.taken.read += some as u64;
        self.taken.readers = self.bodies.iter().filter(|body| body.is_read).count().max(1);
        self.total.0 += some as u64;
        self.connection.say();
        if self.taken.read >= self.mark {
            self.consumed();
        }
        true
    }

    /// The client resets it.
    fn reset(&mut self, index: usize) {
        if index < self.bodies.len() {
            let held = self.bodies.remove(index).flow.held;
            self.connection.went(held);
            self.taken.dropped += held as u64;
            self.total.0 += held as u64;
            self.connection.say();
            if held > 0 {
                self.taken.left += 1;
                self.consumed();
            }
        }
    }

    // From here on as the gate's own credit does it.

    fn consumed(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        let unread = if self.bodies.len() > 1 { self.unread(false) } else { Unread::default() };
        let due = self.window.consumed(taken, self.now, || unread);
        self.mark = self.window.mark(taken.readers).max(1);
        if due.is_some_and(|sizes| !self.grow(sizes)) {
            self.window.share(self.unread(false));
        }
        self.settle();
    }

    fn grow(&mut self, sizes: Sizes) -> bool {
        let more = self.window.cost_of(sizes).saturating_sub(self.charged);
        if more > 0 && self.memory == Memory::Short {
            return false;
        }
        self.charged += more;
        self.window.resize(sizes);
        true
    }

    fn look(&mut self) {
        let moves = self.total.0 != self.total.1;
        self.total.1 = self.total.0;
        self.looks += 1;
        if self.bodies.iter().any(|body| body.is_read && body.flow.held == 0) {
            let unread = self.unread(!moves);
            let grown = self.window.tight(unread.clone()).map(|sizes| self.grow(sizes));
            if let Some(sizes) = self.window.starved(&unread).filter(|_| grown != Some(true)) {
                self.charged += self.window.cost_of(sizes).saturating_sub(self.charged);
                self.window.resize(sizes);
            }
            if grown == Some(false) {
                self.window.share(unread);
            }
        }
        self.settle();
    }

    fn give_back(&mut self) {
        self.window.burn(std::mem::take(&mut self.taken));
        if self.bodies.is_empty() {
            self.window.quench();
        } else {
            self.window.shrink(self.unread(true));
        }
        self.settle();
    }

    fn unread(&self, all: bool) -> Unread {
        let is = |body: &&Body| !(body.is_read && body.flow.held == 0) && (all || body.look + 1 < self.looks);
        Unread(self.bodies.iter().filter(is).map(|body| body.flow.held as u64).collect())
    }

    fn settle(&mut self) {
        self.charged = self.charged.min(self.window.cost());
        let target = i64::from(self.window.target());
        self.connection.available = target - self.connection.held;
        self.connection.say();
        if self.said.is_none() {
            self.said = self.window.say(self.now).map(i64::from);
        }
    }

    /// Time passes.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.now.saturating_duration_since(self.looked) >= LOOK {
            self.looked += LOOK;
            self.look();
        }
    }

    /// What can happen is paid for.
    fn check(&self) -> Result<(), TestCaseError> {
        let exposed = self.connection.window.max(0) + self.connection.held;
        if self.window.state() != State::Quenched {
            prop_assert!(window_cost(exposed as u64) <= self.charged, "{exposed} for {}", self.charged);
            prop_assert_eq!(self.charged, self.window.cost());
        }
        let most = u64::from(largest_with_unread(self.window.largest));
        prop_assert!(u64::from(self.window.target()) <= 2 * most, "{}", self.window.target());
        Ok(())
    }
}
