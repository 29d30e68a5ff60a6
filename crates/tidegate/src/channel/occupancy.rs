//! How full a channel is: one consistent answer, taken under the lock.

use std::sync::Arc;
use std::time::Duration;

use crate::readiness::WaitEstimate;

use super::ledger::Ledger;
use super::shared::Shared;
use super::tally::Tally;

/// Borrowers listed: the heaviest.
const BORROWERS: usize = 8;

/// How full a channel is, how fast it moves, and what became of the items. All of one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Occupancy {
    /// Items in the queue.
    pub items: usize,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Items received whose lease was not dropped yet.
    pub leased_items: usize,
    /// Their bytes, and those split off.
    pub leased_bytes: u64,
    /// Permits that were given and not used yet.
    pub reserved_items: usize,
    /// Their bytes.
    pub reserved_bytes: u64,
    /// Bytes that may be charged more right now.
    pub free: u64,
    /// Bytes that may be charged at once: the most, or what the target delay makes of it.
    pub capacity: u64,
    /// Senders that wait for room.
    pub waiters: usize,
    /// Bytes that they wait for.
    pub waiting_bytes: u64,
    /// How long ago the item that is next was charged.
    pub oldest_age: Option<Duration>,
    /// Bytes that came in per second: a mean over time whose memory is 5 s.
    pub in_rate: f64,
    /// Bytes released per second, likewise.
    pub out_rate: f64,
    /// How long an item that is offered now would be on its way to the receiver: what is before it, over the pace at
    /// which leases were dropped while there were any. `samples` is the number of windows in which that was measured; at
    /// 0 nothing is known. How long a sender would wait for room says [`Sender::room_in`](super::Sender::room_in).
    pub est_wait: WaitEstimate,
    /// What became of the items.
    pub tally: Tally,
    /// Who holds the bytes: the eight heaviest tags by bytes × age.
    pub borrowers: Vec<Borrower>,
}

/// What was sent under one tag and is still charged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Borrower {
    /// The tag ([`Sender::tagged`](super::Sender::tagged)); empty for the untagged.
    pub tag: Arc<str>,
    /// Items charged.
    pub items: usize,
    /// Bytes charged.
    pub bytes: u64,
    /// How long ago those bytes were charged, on the average. Of items that come in quick succession, up to sixteen share one
    /// look at the clock.
    pub age: Duration,
}

impl Occupancy {
    pub(super) fn of<T>(shared: &Shared<T>) -> Self {
        let mut core = shared.lock();
        let outlet = shared.fold(&mut core);
        let now = {
            let clock = core.ledger.clock;
            core.ledger.pace.now(&clock)
        };
        let front = outlet.queue.front().or(core.queue.front());
        let oldest = front.map(|queued| now.saturating_sub(queued.since));
        let ledger = &core.ledger;
        let (leased, waiting) = (ledger.leased(), ledger.waiting());
        let (in_rate, out_rate) = ledger.pace.throughput();
        let borrowers = ledger.tags.heaviest(BORROWERS, now).into_iter().map(|held| {
            let age = held.burden.checked_div(u128::from(held.bytes)).unwrap_or_default();
            let age = Duration::from_nanos(u64::try_from(age).unwrap_or(u64::MAX));
            Borrower { tag: held.name, items: held.items, bytes: held.bytes, age }
        });
        Self {
            items: ledger.queued.items,
            queued_bytes: ledger.queued.bytes,
            leased_items: leased.items,
            leased_bytes: leased.bytes,
            reserved_items: ledger.reserved.items,
            reserved_bytes: ledger.reserved.bytes,
            free: ledger.free(),
            capacity: ledger.capacity(),
            waiters: waiting.items,
            waiting_bytes: waiting.bytes,
            oldest_age: oldest.map(Duration::from_nanos),
            in_rate,
            out_rate,
            est_wait: ledger.delay(),
            tally: ledger.tally,
            borrowers: borrowers.collect(),
        }
    }
}

impl Ledger {
    /// How long a newcomer that needs `bytes` would wait for its room.
    pub(super) fn room_in(&self, bytes: u64) -> WaitEstimate {
        let ahead = self.waiting();
        let wanted = self.charged.bytes.saturating_add(ahead.bytes).saturating_add(bytes);
        let places = (self.charged.items + ahead.items + 1).saturating_sub(self.max_items) as u64;
        let short = wanted.saturating_sub(self.capacity()).min(wanted.saturating_sub(bytes));
        let places = places.saturating_mul(self.pace.size());
        let samples = self.pace.windows();
        match short.max(places) {
            0 => WaitEstimate { samples, ..WaitEstimate::default() },
            short => self.pace.estimate(short),
        }
    }

    /// How long an item that came now would be on its way to the receiver.
    pub(super) fn delay(&self) -> WaitEstimate {
        let ahead =
            self.queued.bytes.saturating_add(self.reserved.bytes).saturating_add(self.waiting().bytes);
        // Of what is in hand, half is done on the average.
        let in_hand = if self.leased().items > 0 { self.pace.size() / 2 } else { 0 };
        self.pace.estimate(ahead.saturating_add(in_hand))
    }
}
