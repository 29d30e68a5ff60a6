//! When requests go out: at the moments of a plan, or each when the one before has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::plan::{Due, Patience, Plan};
use super::run::{Crowd, Shared};
use crate::clock::{Clock, nanos};

/// Requests that are due and not yet sent on: more than a stalled runtime leaves behind in a tenth of a second.
const DUE: usize = 10_000;

/// How often, in nanoseconds, the pacing thread looks whether its run still exists.
const LOOK_UP: u64 = 50_000_000;

/// Ends the pacing thread with the run it belongs to.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends the plan; returns when every request has ended.
pub(super) async fn open(shared: &Arc<Shared>) {
    let Crowd::Open { rate, arrivals } = shared.settings.crowd.clone() else { return };
    let settings = &shared.settings;
    let plan = Plan::new(rate, arrivals, settings.leave, settings.duration, settings.seed);
    let places = Arc::new(Semaphore::new(settings.connections));
    let stop = Stop(Arc::default());
    let (sender, mut due) = mpsc::channel(DUE);
    let (clock, stopped) = (shared.clock(), Arc::clone(&stop.0));
    // A thread, because tokio's timers end on whole milliseconds and would send arrivals in bunches.
    let pacing = Handle::current().spawn_blocking(move || pace(plan, &sender, clock, &stopped));
    while let Some(due) = due.recv().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.unsent(due);
            continue;
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            shared.request(due).await;
            drop(place);
        });
    }
    let _ = pacing.await;
    // All places free: every request has ended.
    let all = u32::try_from(settings.connections).unwrap_or(u32::MAX);
    let _all = places.acquire_many(all).await;
}

fn pace(plan: Plan, sender: &mpsc::Sender<Due>, clock: Clock, stop: &AtomicBool) {
    for due in plan {
        let at = nanos(due.at);
        while clock.now() < at {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            clock.sleep_until(at.min(clock.now() + LOOK_UP));
        }
        if sender.blocking_send(due).is_err() {
            return;
        }
    }
}

/// Lets each client send when its last request has ended; returns when the last of all has.
pub(super) async fn closed(shared: &Arc<Shared>, clients: usize) {
    let end = nanos(shared.settings.duration);
    let mut all = JoinSet::new();
    for number in 0..clients {
        let shared = Arc::clone(shared);
        all.spawn(async move {
            // Each with a seed of its own: they do not leave in step.
            let seed = shared.settings.seed.wrapping_add(number as u64);
            let mut patience = Patience::new(shared.settings.leave, seed);
            loop {
                let now = shared.clock().now();
                if now >= end {
                    return;
                }
                shared.request(Due { at: Duration::from_nanos(now), leaves: patience.next() }).await;
            }
        });
    }
    while all.join_next().await.is_some() {}
}
