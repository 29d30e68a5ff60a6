//! [`Plan`]: a number divided into what is fixed and what is charged.

use std::fmt::Write as _;

use super::costs::{
    BASE, FIXED2, FLOOR2, FREE, HEADS, IDLE, KEPT, LARGEST_RECEIVED, LEAST_WINDOW, PARKED, RECEIVE, RECEIVED,
    RECEIVED_OVER, REQUEST, ROOM, TLS, TUNNEL, UNWRITTEN, window_cost,
};
use crate::receive;

/// The least that can be asked of a gateway: the program, and some connections.
const LEAST: u64 = 32 * 1024 * 1024;
/// Windows to an HTTP/2 origin: a 64th of the number, and at most 4 MiB, which is 40 MB/s over 100 ms.
const ORIGIN_WINDOW: (u64, u64) = (256 * 1024, 4 * 1024 * 1024);
/// The most an HTTP/2 client may send ahead of who reads: 8 MiB, of which a stream has a quarter: 20 MB/s over 100 ms, from
/// the ninth round trip on.
const LARGEST_WINDOW: (u64, u64) = (LEAST_WINDOW as u64, 8 * 1024 * 1024);
/// Kept for windows that others have used up: a 16th of the number, and at most 8 MiB. One such window of a hundred streams
/// takes 2.4 MiB; one at a time is enough for all of them to come to their end.
const RESCUE: (u64, u64) = (LEAST / 16, 8 * 1024 * 1024);
/// Kept for parties that hold less than their share while others hold all of theirs: a 16th of the number, and at most 16
/// MiB, which is sixty floors.
const NEWCOMERS: (u64, u64) = (LEAST / 16, 16 * 1024 * 1024);
/// Connections that may be parked: one for each 128 KiB of the number, four times as many as floors fit; 4096 at most.
const PLACES: (u64, u64, u64) = (128 * 1024, LEAST / (128 * 1024), 4096);
/// Answer bytes that one HTTP/2 connection may hold unsent where there is plenty: eight frames.
const LARGEST_ROOM: u64 = 128 * 1024;

/// The window of a connection with what nobody reads: as much again, which is what four streams may hold.
pub(crate) const fn largest_with_unread(window: u32) -> u32 {
    window.saturating_mul(2)
}

/// How many bytes may be held, and what that allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// All of it.
    pub bytes: u64,
    /// Do clients speak TLS?
    pub tls: bool,
    /// Does the origin speak HTTP/2?
    pub origin_http2: bool,
}

impl Plan {
    /// The least number of bytes.
    pub const LEAST: u64 = LEAST;

    /// A plan for so many bytes; [`LEAST`](Self::LEAST) at least.
    #[must_use]
    pub fn new(bytes: u64, tls: bool, origin_http2: bool) -> Self {
        Self { bytes: bytes.max(LEAST), tls, origin_http2 }
    }

    /// What is taken before the first client comes.
    pub(crate) fn fixed(&self) -> u64 {
        let origin = self.origin_connections() as u64 * KEPT + self.origin_windows();
        BASE + self.rescue() + self.newcomers() + self.places() as u64 * PARKED + origin
    }

    /// What is kept for windows that others have used up, so that the uploads which somebody reads always go on.
    pub(super) fn rescue(&self) -> u64 {
        (self.bytes / 16).clamp(RESCUE.0, RESCUE.1)
    }

    /// What is kept for parties that hold less than their share, so that those who came before cannot hold all.
    pub(super) fn newcomers(&self) -> u64 {
        (self.bytes / 16).clamp(NEWCOMERS.0, NEWCOMERS.1)
    }

    /// Connections that may be parked.
    pub(super) fn places(&self) -> usize {
        usize::try_from((self.bytes / PLACES.0).clamp(PLACES.1, PLACES.2)).unwrap_or(256)
    }

    /// What is charged as clients come.
    pub(crate) fn spendable(&self) -> u64 {
        self.bytes.saturating_sub(self.fixed())
    }

    /// Unused connections to the origin that may be kept: a 64th of the number, 256 at most.
    pub(crate) fn origin_connections(&self) -> usize {
        usize::try_from((self.bytes / 64 / KEPT).clamp(8, 256)).unwrap_or(8)
    }

    /// The window of a connection to an HTTP/2 origin.
    pub(crate) fn origin_window(&self) -> u32 {
        u32::try_from((self.bytes / 64).clamp(ORIGIN_WINDOW.0, ORIGIN_WINDOW.1)).unwrap_or(LEAST_WINDOW)
    }

    fn origin_windows(&self) -> u64 {
        if self.origin_http2 { window_cost(u64::from(self.origin_window())) } else { 0 }
    }

    /// The largest window of an HTTP/2 client's connection: a 16th of the number at most.
    pub(crate) fn largest_window(&self) -> u32 {
        u32::try_from((self.bytes / 16).clamp(LARGEST_WINDOW.0, LARGEST_WINDOW.1)).unwrap_or(LEAST_WINDOW)
    }

    /// The same with what nobody reads of it.
    fn largest_with_unread(&self) -> u64 {
        u64::from(largest_with_unread(self.largest_window()))
    }

    /// The most answer bytes that one HTTP/2 connection may hold unsent.
    pub(crate) fn largest_room(&self) -> u64 {
        LARGEST_ROOM
    }

    /// What a connection takes before it is accepted: then nobody knows yet what it will speak.
    pub(crate) fn floor(&self) -> u64 {
        FLOOR2 + self.request() + self.of_tls()
    }

    /// What an HTTP/1 connection keeps between requests.
    pub(crate) fn idle1(&self) -> u64 {
        IDLE + self.of_tls()
    }

    /// What an HTTP/2 connection without streams keeps when memory is short.
    pub(crate) fn asleep2(&self) -> u64 {
        FIXED2 + self.of_tls()
    }

    /// What of it comes back when it sleeps, beside its windows.
    pub(crate) fn dreams2(&self) -> u64 {
        ROOM + HEADS + self.request()
    }

    /// What one request takes.
    pub(crate) fn request(&self) -> u64 {
        REQUEST + if self.origin_http2 { 0 } else { 2 * self.receive() }
    }

    /// What the kernel may hold of an answer of an HTTP/1 origin (`SO_RCVBUF`): a 4096th of the number.
    pub(crate) fn receive(&self) -> u64 {
        (self.bytes / 4096).clamp(RECEIVE.0, RECEIVE.1)
    }

    /// What the kernel may hold of an HTTP/1 client's bytes that nobody reads; nothing that could be charged where it cannot be
    /// told how much.
    pub(crate) fn received(&self) -> u64 {
        if receive::limits().is_some() { RECEIVED + RECEIVED_OVER } else { 0 }
    }

    /// The most of them of an upload or a tunnel that is read quickly: a 16th of the number.
    pub(crate) fn largest_received(&self) -> u64 {
        (self.bytes / 16).clamp(LARGEST_RECEIVED.0, LARGEST_RECEIVED.1)
    }

    /// What a tunnel takes, which has no request any more.
    pub(crate) fn tunnel(&self) -> u64 {
        TUNNEL + self.received() + if self.origin_http2 { 0 } else { 2 * self.receive() }
    }

    /// What may wait unwritten of an upload that flows freely to an HTTP/1 origin: a 512th of the number.
    pub(crate) fn unwritten(&self) -> usize {
        usize::try_from((self.bytes / 512).clamp(UNWRITTEN.0, UNWRITTEN.1)).unwrap_or(64 * 1024)
    }

    /// The mark of what the kernel may hold unsent of it.
    pub(crate) fn unsent(&self) -> u32 {
        u32::try_from(self.unwritten() / 2).unwrap_or(u32::MAX)
    }

    /// What such an upload takes beyond what every request does: what is unwritten, and seven quarters of the mark.
    pub(crate) fn flows(&self) -> u64 {
        self.unwritten() as u64 + u64::from(self.unsent()) * 7 / 4
    }

    fn of_tls(&self) -> u64 {
        if self.tls { TLS } else { 0 }
    }

    /// The proof of the worst case: the number, term by term, and how many connections fit, of which there are
    /// `max_connections` at most.
    #[must_use]
    pub fn proof(&self, max_connections: u64) -> String {
        let mut text = String::new();
        let kib = |bytes: u64| bytes.div_ceil(1024);
        let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
        let floors = self.tier(FLOOR_SHARE);
        let (two, beyond2) = fit(floors, self.newcomers(), self.floor(), max_connections);
        // The first of them have their request's bytes already.
        let ahead = self.tier(AHEAD_SHARE);
        let for_requests = ahead / (self.idle1() + self.request()) * self.request();
        let (one, beyond1) = fit(floors - for_requests, self.newcomers(), self.idle1(), max_connections);
        let tls = if self.tls { format!(" + TLS {}", kib(TLS)) } else { String::new() };
        let _ = write!(
            text,
            "#   {} MiB at worst = fixed {} + charged as clients come, at most {}\n\
             #   fixed: program {} MiB, kept for uploads that others starve {} KiB, kept for clients that hold less than their share {} KiB, parked connections {} x {} KiB, unused origin connections {} x {} KiB, windows to the origin {} KiB\n\
             #   HTTP/2 connection, at least {} KiB: fixed {} + window {} (65535 bytes x 1.5) + unsent answers and kernel {} + waiting heads {} + one request {}{tls}\n\
             #   HTTP/2 connection, at most: window {} KiB x 1.5, unsent answers {} KiB; without streams, when memory is short: {} KiB\n\
             #   HTTP/1 connection, idle {} KiB{tls}; with a request {} KiB more, which those keep that come while less than {} MiB are charged{}\n\
             #   each further request {} KiB (of it {} ours and the kernel's for the client, {} the kernel's for the origin) and its head beyond {} KiB; a body that flows freely {} KiB, an upload on its way to the origin then {} KiB; a body read before the door its bytes\n\
             #   a tunnel (WebSocket and the like) {} KiB in the place of its request\n\
             #   connections that fit at the floor: {two} of HTTP/2, {one} of HTTP/1; beyond them {beyond2} and {beyond1} of clients that hold less than their share\n\
             #   not in it: {}\n",
            mib(self.bytes),
            mib(self.fixed()),
            mib(self.spendable()),
            mib(BASE),
            kib(self.rescue()),
            kib(self.newcomers()),
            self.places(),
            kib(PARKED),
            self.origin_connections(),
            kib(KEPT),
            kib(self.origin_windows()),
            kib(self.floor()),
            kib(FIXED2),
            kib(window_cost(u64::from(LEAST_WINDOW))),
            kib(ROOM),
            kib(HEADS),
            kib(self.request()),
            kib(self.largest_with_unread()),
            kib(self.largest_room()),
            kib(self.asleep2()),
            kib(self.idle1()),
            kib(self.request()),
            mib(self.fixed() + ahead),
            self.said_of_received(),
            kib(self.request()),
            kib(REQUEST),
            kib(self.request() - REQUEST),
            kib(super::costs::HEAD),
            kib(FREE),
            kib(self.flows()),
            kib(self.tunnel()),
            self.said_of_the_rest(),
        );
        text
    }

    fn said_of_received(&self) -> String {
        if self.received() == 0 {
            return String::new();
        }
        let (received, most) = (self.received().div_ceil(1024), self.largest_received().div_ceil(1024));
        format!(
            "; {received} KiB more for what the kernel has received and nobody has read, of an upload, or behind another request; up to {most} KiB of a body or tunnel that is read, if there is memory"
        )
    }

    fn said_of_the_rest(&self) -> String {
        if self.received() == 0 {
            return "what the kernel has received of HTTP/1 uploads and tunnels and nobody has read yet, which this system bounds by itself (it cannot be told a size and to go on from there; Linux can since 5.14)"
                .to_owned();
        }
        format!(
            "what the kernel has received of a client that waits to be let in, or of a request that waits to be paid for: {} KiB at most of each",
            self.received().div_ceil(1024)
        )
    }

    /// So many percent of what is charged, on top of what is fixed: a bound of the whole.
    pub(super) fn tier(&self, percent: u64) -> u64 {
        self.spendable() / 100 * percent
    }
}

/// How many connections of `each` bytes fit into `floors`, with the reason if memory is not what bounds them, and how many
/// more into what is kept for `newcomers`.
fn fit(floors: u64, newcomers: u64, each: u64, max_connections: u64) -> (String, u64) {
    let room = floors / each;
    let beyond = (newcomers / each).min(max_connections.saturating_sub(room));
    if room <= max_connections {
        (room.to_string(), beyond)
    } else {
        (format!("{max_connections} (max-connections; there is memory for {room})"), beyond)
    }
}

/// What floors may take together, in percent; see [`Tier`](super::Tier).
pub(super) const FLOOR_SHARE: u64 = 85;
/// As long as no more is charged, an HTTP/1 connection keeps what a request takes, so that its requests take no lock; in
/// percent. Idle connections hold that much at most for nothing.
pub(super) const AHEAD_SHARE: u64 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_number_lets_some_in() {
        for (tls, origin_http2) in [(false, false), (true, true)] {
            let plan = Plan::new(0, tls, origin_http2);
            assert_eq!(plan.bytes, Plan::LEAST);
            assert!(plan.tier(FLOOR_SHARE) / plan.floor() >= 25, "{plan:?}");
            assert!(plan.floor() > plan.asleep2() + plan.dreams2());
        }
    }

    #[test]
    fn the_proof_adds_up() {
        let plan = Plan::new(64 << 20, false, false);
        assert_eq!(plan.fixed() + plan.spendable(), 64 << 20);
        let proof = plan.proof(10_000);
        assert!(proof.starts_with("#   64 MiB at worst = fixed"), "{proof}");
        assert!(proof.lines().all(|line| line.starts_with('#')), "{proof}");
        for term in [
            "a tunnel (WebSocket and the like) 204 KiB in the place",
            "80 KiB more for what the kernel has received",
            "not in it: what the kernel has received",
        ] {
            assert!(proof.contains(term), "no {term:?} in {proof}");
        }
    }

    #[test]
    fn what_fits_is_the_smaller_of_memory_and_connections() {
        assert_eq!(fit(1000, 100, 10, 1000), ("100".to_owned(), 10));
        assert_eq!(fit(1000, 100, 10, 107), ("100".to_owned(), 7), "of both together there are no more");
        assert_eq!(fit(1000, 100, 10, 100), ("100".to_owned(), 0));
        assert_eq!(fit(1000, 100, 10, 99), ("99 (max-connections; there is memory for 100)".to_owned(), 0));
        let proof = Plan::new(64 << 20, false, false).proof(3);
        let line = "fit at the floor: 3 (max-connections; there is memory for ";
        assert!(proof.contains(line) && proof.contains("beyond them 0 and 0 of"), "{proof}");
    }
}
