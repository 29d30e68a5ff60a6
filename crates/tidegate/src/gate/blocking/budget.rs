//! Bytes that work holds from before it waits for a thread until its result was taken. Who finds none waits,
//! bounded like everybody, and in bytes too.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::demand::Demand;
use crate::limiter::{Admission, Limiter, Permit, QueueConfig, Ticket};
use crate::refused::{Reason, Refused};

/// A budget of bytes.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: Limiter,
    /// Bytes that callers wait for.
    waiting: AtomicU64,
}

impl Budget {
    /// `bytes` at once, waited for as in `queue`.
    pub(super) fn new(name: &str, bytes: u64, queue: QueueConfig) -> Self {
        let bytes = bytes.clamp(1, Limiter::MAX_LIMIT);
        // Whoever gave the limiter a queue in which nobody may wait gave one to the bytes.
        let limiter = Limiter::builder().name(format!("{name} bytes")).limit(bytes).queue(queue).build();
        Self { bytes: limiter.unwrap_or_else(|_| Limiter::fixed(bytes)), waiting: AtomicU64::new(0) }
    }

    pub(super) fn limiter(&self) -> &Limiter {
        &self.bytes
    }

    /// `bytes`, after a bounded wait if need be.
    pub(super) async fn charge(&self, bytes: u64, demand: &Demand) -> Result<Permit, Refused> {
        let mut demand = demand.clone();
        demand.weight = bytes;
        match self.bytes.enqueue(demand).map_err(out_of_memory)? {
            Admission::Admitted(permit) => Ok(permit),
            Admission::Waiting(ticket) => {
                let Some(_waiting) = self.wait_for(bytes) else { return Err(self.refuse(ticket)) };
                ticket.await.map_err(out_of_memory)
            }
        }
    }

    /// Counts `bytes` as waited for, unless as many as there are at all are waited for already.
    fn wait_for(&self, bytes: u64) -> Option<Waiting<'_>> {
        let before = self.waiting.fetch_add(bytes, AcqRel);
        let waiting = Waiting { count: &self.waiting, bytes };
        (before == 0 || before.saturating_add(bytes) <= self.bytes.limit()).then_some(waiting)
    }

    fn refuse(&self, ticket: Ticket) -> Refused {
        let wait = ticket.estimate();
        ticket.decline();
        Refused::new(Reason::Memory, Arc::from(self.bytes.name()))
            .after((wait.samples > 0).then_some(wait.expected))
            .for_wait(Some(wait))
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }
}

/// Every place is taken: what there is too little of is memory.
fn out_of_memory(refused: Refused) -> Refused {
    match refused.reason() {
        Reason::QueueFull => refused.because(Reason::Memory),
        _ => refused,
    }
}

/// Bytes waited for, until dropped.
struct Waiting<'b> {
    count: &'b AtomicU64,
    bytes: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(self.bytes, AcqRel);
    }
}
