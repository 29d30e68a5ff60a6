//! How fast items come and go, with few looks at the clock.

use std::time::Duration;

use tidegate_control::wait::{DrainRate, Prediction, Throughput};

use crate::clock::Clock;
use crate::readiness::WaitEstimate;

/// Events that may share one look at the clock: a sixteenth of its cost is small beside a send, and a pace that drops
/// suddenly is misjudged for sixteen events at most.
const MOST_SHARED: u32 = 16;
/// … but only while so many follow each other within half a millisecond.
const CLOSE_NANOS: u64 = 500_000;

#[derive(Debug)]
pub(super) struct Pace {
    /// The last look at the clock.
    at: u64,
    /// Events that still take its word for it.
    left: u32,
    shared: u32,
    pub(super) incoming: Throughput,
    pub(super) outgoing: Throughput,
    /// Bytes released per second of the time in which there was something to do.
    service: DrainRate,
}

impl Pace {
    pub(super) fn new(now: u64) -> Self {
        Self {
            at: now,
            left: 0,
            shared: 1,
            incoming: Throughput::starting(now),
            outgoing: Throughput::starting(now),
            service: DrainRate::default(),
        }
    }

    /// About now: to half a millisecond while the pace is steady.
    pub(super) fn about(&mut self, clock: &Clock) -> u64 {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.at
            }
            None => self.now(clock),
        }
    }

    /// Now.
    pub(super) fn now(&mut self, clock: &Clock) -> u64 {
        let now = clock.now();
        let close = now.saturating_sub(self.at) < CLOSE_NANOS;
        self.shared = if close { (self.shared * 2).min(MOST_SHARED) } else { 1 };
        self.left = self.shared - 1;
        self.at = now;
        self.incoming.advance(now);
        self.outgoing.advance(now);
        now
    }

    /// There is something to do from now on.
    pub(super) fn busy(&mut self, clock: &Clock) -> u64 {
        let now = self.now(clock);
        self.service.bound(now);
        now
    }

    /// `bytes` were released; with the `last` of them there is nothing to do any more.
    pub(super) fn released(&mut self, clock: &Clock, bytes: u64, items: u64, last: bool) {
        self.outgoing.count(bytes);
        let now = if last { self.now(clock) } else { self.about(clock) };
        self.service.taken(now, bytes, items);
        if last {
            self.service.rest(now);
        }
    }

    /// There is nothing to do from now on, although nothing was released: it was displaced.
    pub(super) fn rest(&mut self, clock: &Clock) {
        let now = self.now(clock);
        self.service.rest(now);
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
