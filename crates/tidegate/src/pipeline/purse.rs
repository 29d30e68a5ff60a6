//! [`Purse`]: where a pipeline's bytes come from when it lives on a budget.
//!
//! The reserves are leased before it begins and kept, so that nothing that the budget's other holders do can make it
//! get stuck. What is common is leased as it is needed, in steps, and given back when it is not.

use std::sync::Arc;
use std::time::Duration;

use tidegate_control::credit::Grants;

use crate::budget::{Budget, Lease};

use super::engine::Engine;
use super::worker::Member;

/// Common bytes are leased and given back in steps of a sixteenth of all of them, within these bounds: few enough
/// visits to the budget, and little that is held in vain.
const STEPS: u64 = 16;
const STEP: (u64, u64) = (4 << 10, 1 << 20);
/// How long until the budget is asked again that has said that it never will have the bytes, or has no place to wait.
const LATER: Duration = Duration::from_millis(100);

/// Bytes leased from a budget: the reserves and what is common.
pub(super) struct Purse {
    lease: Lease,
    /// Common bytes at most.
    most: u64,
    step: u64,
}

/// What came of asking for more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Grown {
    Yes,
    /// The pipeline's own number is reached.
    AtMost,
    /// The budget has no more.
    Full,
}

impl Purse {
    /// `reserves` leased, and up to `most` to come.
    pub(super) fn new(reserves: Lease, most: u64) -> Self {
        let (least, largest) = STEP;
        Self { lease: reserves, most, step: (most / STEPS).clamp(least, largest) }
    }

    /// Leases what is missing, and a step if that can be had. Never waits; wakes nobody.
    pub(super) fn grow<T>(&mut self, grants: &mut Grants<T>, missing: u64) -> Grown {
        let (common, _) = grants.common();
        let room = self.most.saturating_sub(common);
        if missing > room {
            return Grown::AtMost;
        }
        let step = missing.max(self.step).min(room);
        let got = [step, missing].into_iter().find(|bytes| self.lease.try_grow(*bytes).is_ok());
        match got {
            Some(bytes) => {
                grants.set_common(common.saturating_add(bytes));
                Grown::Yes
            }
            None => Grown::Full,
        }
    }

    /// Takes in what was waited for; what is more than may be comes back.
    pub(super) fn put<T>(&mut self, grants: &mut Grants<T>, mut more: Lease) -> Option<Lease> {
        let (common, _) = grants.common();
        let room = self.most.saturating_sub(common);
        let beyond = more.split(more.bytes().saturating_sub(room));
        let bytes = more.bytes();
        match self.lease.merge(more) {
            Ok(()) => grants.set_common(common.saturating_add(bytes)),
            Err(other) => return Some(other),
        }
        beyond.filter(|beyond| beyond.bytes() > 0)
    }

    /// What is not needed, to be dropped when the books are free: that wakes others.
    pub(super) fn spare<T>(&mut self, grants: &mut Grants<T>) -> Option<Lease> {
        let (common, taken) = grants.common();
        let free = common.saturating_sub(taken);
        if free < self.step.saturating_mul(2) {
            return None;
        }
        let spare = free - self.step;
        grants.set_common(common - spare);
        self.lease.split(spare)
    }
}

/// A task's life: waits for bytes while the budget has none, until the pipeline's other tasks have ended.
pub(super) async fn feed(_member: Member, engine: Arc<Engine>, budget: Budget) {
    let mut alone = std::pin::pin!(engine.fate.alone());
    loop {
        tokio::select! {
            biased;
            () = &mut alone => return,
            () = engine.hunger.notified() => {}
        }
        let Some(missing) = engine.short_of() else { continue };
        let leased = tokio::select! {
            biased;
            () = &mut alone => return,
            leased = budget.lease(missing) => leased,
        };
        match leased {
            Ok(lease) => engine.put_in(lease),
            Err(_full) => {
                tokio::select! {
                    biased;
                    () = &mut alone => return,
                    () = tokio::time::sleep(LATER) => engine.hunger.notify_one(),
                }
            }
        }
    }
}
