//! How fast items come and go, with few looks at the clock.

use std::time::Duration;

use tidegate_control::wait::{DrainRate, Prediction, Throughput};

use crate::clock::Clock;
use crate::readiness::WaitEstimate;

/// Events that share one look at the clock while they come in quick succession: a sixteenth of its cost is small beside a
/// send, and when the pace drops suddenly fifteen of them, at most, are told the time before.
const SHARED: u32 = 16;
/// Quick succession: so many looks, one after the other, …
const STREAK: u32 = 8;
/// … each so soon after the one before.
const CLOSE_NANOS: u64 = 500_000;

#[derive(Debug)]
pub(super) struct Pace {
    /// The last look at the clock.
    at: u64,
    /// Events that still take its word for it.
    left: u32,
    /// Looks, up to the last, that were close to the one before.
    streak: u32,
    /// Bytes that came since then, bytes and items that were released.
    came: u64,
    went: u64,
    gone: u64,
    incoming: Throughput,
    outgoing: Throughput,
    /// Bytes released per second of the time in which there was something to do.
    service: DrainRate,
}

impl Pace {
    pub(super) fn new(now: u64) -> Self {
        Self {
            at: now,
            left: 0,
            streak: 0,
            came: 0,
            went: 0,
            gone: 0,
            incoming: Throughput::starting(now),
            outgoing: Throughput::starting(now),
            service: DrainRate::default(),
        }
    }

    /// About now: to half a millisecond while the pace is steady.
    #[inline]
    pub(super) fn about(&mut self, clock: &Clock) -> u64 {
        if self.shares() { self.at } else { self.now(clock) }
    }

    /// Does an event take the last look's word for it?
    #[inline]
    pub(super) fn shares(&mut self) -> bool {
        let shares = self.left > 0;
        self.left = self.left.saturating_sub(1);
        shares
    }

    /// Now. What happened since the last look enters the means.
    #[inline(never)]
    pub(super) fn now(&mut self, clock: &Clock) -> u64 {
        let now = clock.now();
        let close = now.saturating_sub(self.at) < CLOSE_NANOS;
        self.streak = if close { (self.streak + 1).min(STREAK) } else { 0 };
        self.left = if self.streak == STREAK { SHARED - 1 } else { 0 };
        self.at = now;
        self.incoming.count(std::mem::take(&mut self.came));
        self.incoming.advance(now);
        let went = std::mem::take(&mut self.went);
        self.outgoing.count(went);
        self.outgoing.advance(now);
        if self.gone > 0 {
            self.service.taken(now, went, std::mem::take(&mut self.gone));
        }
        now
    }

    /// There is something to do from now on.
    pub(super) fn busy(&mut self, clock: &Clock) -> u64 {
        let now = self.now(clock);
        self.service.bound(now);
        now
    }

    /// There is nothing to do from now on.
    pub(super) fn rest(&mut self, clock: &Clock) {
        let now = self.now(clock);
        self.service.rest(now);
    }

    /// `bytes` came in.
    #[inline]
    pub(super) fn came(&mut self, bytes: u64) {
        self.came = self.came.saturating_add(bytes);
    }

    /// `bytes` were released.
    pub(super) fn went(&mut self, bytes: u64, items: usize) {
        self.went = self.went.saturating_add(bytes);
        self.gone += items as u64;
    }

    /// Bytes that come in and go out per second.
    pub(super) fn throughput(&self) -> (f64, f64) {
        (self.incoming.rate(), self.outgoing.rate())
    }

    /// Windows in which the pace was measured.
    pub(super) fn windows(&self) -> u64 {
        self.service.windows()
    }

    /// Bytes a second while there is something to do, and windows that it was measured in.
    pub(super) fn service(&self) -> Option<f64> {
        self.service.rate()
    }

    /// Bytes of one item, on the average; 0 before anything was measured.
    pub(super) fn size(&self) -> u64 {
        self.service.size().unwrap_or_default() as u64
    }

    /// How long it takes until `bytes` more are released.
    pub(super) fn estimate(&self, bytes: u64) -> WaitEstimate {
        let samples = self.service.windows();
        let Prediction { p50, p90 } = self.service.predict(bytes, None).unwrap_or_default();
        WaitEstimate { expected: Duration::from_nanos(p50), upper: Duration::from_nanos(p90), samples }
    }
}
