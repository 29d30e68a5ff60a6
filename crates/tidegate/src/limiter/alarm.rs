//! One alarm for all who wait a moment only, in place of a timer for each.
//!
//! Where the line moves so fast that a wait is expected to end within [`SHORT`], a ticket leans on an alarm that it
//! shares with the others that the same [`Ringer`] rings for. When that goes off, those that still wait are woken, and
//! each sets an alarm of its own for the rest of its time. So nobody depends on another's runtime, which may be blocked, or on
//! another's ticket, which may lie in a drawer; and a line that moves sets one alarm in eight milliseconds.
//!
//! It is also what keeps the desk's reading of the clock fresh: while an alarm is set, events may go by the last
//! reading, for no longer than [`SLACK`]; once it went off, the next event reads the clock.

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::clock::nanos;
use crate::sync::{Mutex, lock};
use crate::wakes::Wakes;

use super::ringer::{Ringer, ring_later};
use super::shared::Shared;

/// A wait that is expected to be shorter than this, in nanoseconds, needs no alarm of its own: a quarter of
/// [`AFTER`], so that hardly anybody is still there when it goes off.
pub(super) const SHORT: u64 = 2_000_000;
/// When the shared alarm of a runtime goes off: rarely enough to cost nothing.
const AFTER: Duration = Duration::from_millis(8);
/// When the thread rings, and rings again: half of that, because it wakes nobody who came within this time. In a line
/// that moves nobody has come before.
pub(super) const BETWEEN: Duration = Duration::from_millis(4);
/// How old a reading may be, in nanoseconds, and so how much later than its longest wait a ticket may end that came
/// on an old one: [`AFTER`], and the milliseconds to which tokio's timers are rounded up.
pub(super) const SLACK: u64 = 10_000_000;
/// As many ring for one limiter: runtimes, and the thread. Tickets on others set their own.
const RINGERS: usize = 8;

type Timer = Arc<Mutex<Option<Pin<Box<Sleep>>>>>;

/// The alarms of a limiter, one for each that rings. Under the desk's lock.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    all: Vec<Alarm>,
}

#[derive(Debug)]
struct Alarm {
    ringer: Ringer,
    set: bool,
    /// Of a runtime, while it is set there. Not longer: a timer keeps what its runtime was made of, and that may be gone.
    timer: Option<Timer>,
}

/// An alarm to lean on.
pub(super) struct Leaning {
    /// Its number.
    pub(super) on: u8,
    /// It has to be [set](Setting::set), once the desk is unlocked.
    pub(super) set: Option<Setting>,
}

/// An alarm to be set.
#[must_use = "others lean on it already"]
pub(super) struct Setting {
    /// For a runtime's.
    timer: Option<Timer>,
    ringer: Ringer,
}

impl Alarms {
    /// The alarm that `ringer` rings, if it is set.
    #[inline]
    pub(super) fn set_on(&self, ringer: Ringer) -> Option<u8> {
        self.all.iter().position(|alarm| alarm.set && alarm.ringer == ringer).map(|at| at as u8)
    }

    /// The alarm that `ringer` rings, which counts as set from now on. `None` if as many others are.
    pub(super) fn lean(&mut self, ringer: Ringer) -> Option<Leaning> {
        let known = self.all.iter().position(|alarm| alarm.ringer == ringer);
        let place = known.or_else(|| {
            let new = Alarm { ringer, set: false, timer: None };
            if self.all.len() < RINGERS {
                self.all.push(new);
                return Some(self.all.len() - 1);
            }
            // Nobody leans on an alarm that is not set; its runtime may be long gone.
            let idle = self.all.iter().position(|alarm| !alarm.set)?;
            *self.all.get_mut(idle)? = new;
            Some(idle)
        })?;
        let alarm = self.all.get_mut(place)?;
        let on = place as u8;
        if std::mem::replace(&mut alarm.set, true) {
            return Some(Leaning { on, set: None });
        }
        alarm.timer = (ringer != Ringer::Thread).then(Timer::default);
        Some(Leaning { on, set: Some(Setting { timer: alarm.timer.clone(), ringer }) })
    }

    /// The alarm that `ringer` rings is not set any more: its number, if it was, and its timer, to be dropped when the
    /// desk is unlocked.
    fn off(&mut self, ringer: Ringer) -> Option<(u8, Option<Timer>)> {
        let place = self.all.iter().position(|alarm| alarm.set && alarm.ringer == ringer)?;
        let alarm = self.all.get_mut(place)?;
        alarm.set = false;
        Some((place as u8, alarm.timer.take()))
    }

    /// Is nothing kept of any runtime?
    #[cfg(test)]
    #[cfg(not(tidegate_loom))]
    pub(super) fn hold_no_timer(&self) -> bool {
        self.all.iter().all(|alarm| alarm.timer.is_none())
    }
}

impl Setting {
    /// Sets it: a timer on the runtime that this is called on. If that has none, which panics, nobody leans on it.
    pub(super) fn set(self, limiter: &Arc<Shared>) {
        let Some(timer) = &self.timer else { return ring_later(limiter) };
        let unset = Unset { limiter, ringer: self.ringer };
        let bell = Bell { limiter: Arc::downgrade(limiter), ringer: self.ringer };
        let waker = Waker::from(Arc::new(bell));
        let mut timer = lock(timer);
        let sleep = timer.insert(Box::pin(tokio::time::sleep(AFTER)));
        let rung = sleep.as_mut().poll(&mut Context::from_waker(&waker));
        drop(timer);
        std::mem::forget(unset);
        if rung.is_ready() {
            waker.wake();
        }
    }
}

/// An alarm that others lean on, and that is not set yet.
struct Unset<'l> {
    limiter: &'l Arc<Shared>,
    ringer: Ringer,
}

impl Drop for Unset<'_> {
    fn drop(&mut self) {
        self.limiter.stop_leaning(self.ringer);
    }
}

/// What the timer rings.
struct Bell {
    limiter: Weak<Shared>,
    ringer: Ringer,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(limiter) = self.limiter.upgrade() {
            limiter.stop_leaning(self.ringer);
        }
    }
}

impl Shared {
    /// The alarm of this ringer was set, or went off. The desk's lock is held.
    pub(super) fn hear(&self, ringer: Ringer, set: bool) {
        if ringer == Ringer::Thread {
            self.thread_rings.store(set, Relaxed);
        }
    }

    /// The alarm of a runtime went off, or cannot be set: whoever leans on it is woken.
    pub(super) fn stop_leaning(&self, ringer: Ringer) {
        let mut wakes = Wakes::default();
        let mut desk = lock(&self.desk);
        desk.read_the_clock_next();
        let off = desk.alarms.off(ringer);
        if let Some((alarm, _)) = off {
            self.hear(ringer, false);
            desk.queue.for_each_mut(|waiter| {
                if waiter.leans == Some(alarm) {
                    waiter.leans = None;
                    wakes.extend(waiter.waker.take());
                }
            });
        }
        drop(desk);
        drop(off);
        wakes.run();
    }

    /// The thread rings: whom to wake, because they have leaned on it for [`BETWEEN`]. As long as others lean, it will ring
    /// again.
    pub(super) fn rouse_older(self: &Arc<Self>) -> Wakes {
        let now = self.clock.now();
        let mut wakes = Wakes::default();
        let mut newer = false;
        let mut desk = lock(&self.desk);
        desk.read_the_clock_next();
        let alarm = desk.alarms.set_on(Ringer::Thread);
        desk.queue.visit_first(|entry| {
            let older = entry.since.saturating_add(nanos(BETWEEN)) <= now;
            let leans = alarm.is_some() && entry.value.leans == alarm;
            if leans && older {
                entry.value.leans = None;
                wakes.extend(entry.value.waker.take());
            }
            newer |= leans && !older;
            // Behind whoever came within this time everybody did.
            older || !leans
        });
        if !newer {
            desk.alarms.off(Ringer::Thread);
            self.hear(Ringer::Thread, false);
        }
        drop(desk);
        if newer {
            ring_later(self);
        }
        wakes
    }
}

/// A ticket's alarm.
#[derive(Debug)]
pub(super) enum TicketAlarm {
    /// Not set yet: it has not been polled.
    Unset,
    /// It leans on a shared one.
    Shared,
    /// Its own.
    Own(Pin<Box<Sleep>>),
    /// It has none: it ends with the limiter's next event.
    Off,
}

impl TicketAlarm {
    /// One that goes off at `at`; away from a runtime not yet.
    pub(super) fn own(at: Option<Instant>) -> Self {
        let on_runtime = tokio::runtime::Handle::try_current().is_ok();
        match at.filter(|_| on_runtime) {
            Some(at) => Self::Own(Box::pin(tokio::time::sleep_until(at))),
            None => Self::Unset,
        }
    }

    /// Has it gone off?
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Own(sleep) => sleep.as_mut().poll(cx),
            Self::Unset | Self::Shared | Self::Off => Poll::Pending,
        }
    }
}
