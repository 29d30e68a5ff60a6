//! One permit to a holder, where that was asked for: whoever asks for a second would wait for itself.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::demand::Demand;
use crate::refused::{Reason, Refused};

use super::desk::Desk;
use super::occupants::Who;
use super::shared::Shared;

impl Shared {
    /// The name under which `demand` is listed, and looked for.
    pub(super) fn who(&self, demand: &Demand) -> Who {
        if self.one_each { identity(demand) } else { demand.who() }
    }

    /// Refuses a holder that holds or waits already. Nothing else hears of it: it says nothing about load.
    #[inline]
    pub(super) fn ask_for_first(&self, desk: &Desk, demand: &Demand) -> Result<(), Refused> {
        if self.one_each { self.refuse_second(desk, demand) } else { Ok(()) }
    }

    #[cold]
    fn refuse_second(&self, desk: &Desk, demand: &Demand) -> Result<(), Refused> {
        let Some(who) = identity(demand) else { return Ok(()) };
        // Holders are found by name: there may be as many as units. Those that wait are few, and walk in and out by
        // many ways, so that a second list of them would be one more to keep right.
        if !desk.register.knows(&who)
            && !desk.queue.iter().any(|entry| entry.value.who().as_ref() == Some(&who))
        {
            return Ok(());
        }
        self.counts.refuse(Reason::AlreadyHeld);
        if self.dry_run {
            self.counts.would_refuse.fetch_add(1, Relaxed);
            return Ok(());
        }
        Err(Refused::new(Reason::AlreadyHeld, Arc::clone(&self.name)).worth_it(false))
    }
}

/// Who asks: the holder that is named, else the task.
fn identity(demand: &Demand) -> Who {
    demand.named_holder().or_else(|| tokio::task::try_id().map(|task| Cow::Owned(format!("task {task}"))))
}
